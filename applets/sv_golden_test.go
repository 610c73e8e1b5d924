package applets

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"runitbox/logger/reader"
	"runitbox/supervise/survey"
)

// TestSvLinesGolden: what watch, lint, log and status --json tell is a line for each thing,
// however wide the screen is.
func TestSvLinesGolden(t *testing.T) {
	causes := []survey.Cause{{Code: "not-executable", Text: "./run is not executable", Mend: "chmod +x /service/a/run"}, {Code: "crlf", Text: "a\x1b[31m line"}}
	at := goldenNow.UnixNano()
	entries := []*reader.Entry{{Time: at, Timed: true, Text: []byte("a line")}, {Time: at + 123450000, Timed: true, Text: []byte("colours \x1b[31m and \xff, \u65e5\u672c, " + strings.Repeat("long ", 60))},
		{Text: []byte("no stamp")}, {Time: at, Timed: true, Text: []byte("a part"), More: true}, {Time: at, Timed: true, Text: []byte("the rest"), Rest: true}}
	for _, columns := range widths {
		t.Setenv("COLUMNS", fmt.Sprint(columns))
		for form, isJSON := range map[string]bool{"txt": false, "json": true} {
			tell := func(name string, do func(s *svCall)) {
				var b bytes.Buffer
				s := &svCall{name: "sv", out: bufio.NewWriter(&b), stdout: &b, err: &b, json: isJSON, begin: goldenNow}
				do(s)
				s.out.Flush()
				golden(t, name+"."+form, b.String())
			}
			tell("watch", func(s *svCall) {
				for _, one := range sampleServices() {
					s.tellChange(one, goldenNow)
				}
			})
			tell("lint", func(s *svCall) {
				for _, c := range causes {
					s.lintLine("a", "/service/a", c)
				}
			})
			tell("log", func(s *svCall) {
				p := linePrinter{out: s.out, json: isJSON}
				for _, e := range entries {
					if err := p.print(e, "web", "web: "); err != nil {
						t.Fatal(err)
					}
				}
			})
			tell("status", func(s *svCall) {
				for _, one := range sampleServices() {
					switch {
					case one.Err != nil && s.json:
						fmt.Fprintf(s.out, "{%s}\n", jsonTrouble(one.Name, one.Err))
					case one.Err != nil:
						fmt.Fprintln(s.out, trouble(one.Name, one.Err))
					case s.json:
						fmt.Fprintf(s.out, "{%s}\n", jsonStatus(one.Name, one.Record, one.HasDown, true, goldenNow))
					default:
						fmt.Fprintln(s.out, svLine(one.Name, one.Record, one.HasDown, goldenNow))
					}
				}
			})
		}
	}
}

// schema is what each member of the objects is: s a text, n a number, b a truth, a an
// array, o an object; with ? also null. What the README does not name is none.
var schema = map[string]string{
	"version": "n", "service": "s", "path": "s", "state": "s", "well": "b", "linked": "b", "target": "s", "log": "o?", "error": "s",
	"pid": "n", "seconds": "n", "since": "s", "want": "s?", "paused": "b", "term": "b", "normally": "s", "ready": "b?", "givenUp": "b", "waits": "a",
	"status": "s?", "reloading": "b", "stopping": "b", "hung": "b",
	"processes": "n", "number": "n", "memory": "n", "cpu": "n", "blocked": "b", "restarts": "n", "flaps": "n", "readyAfter": "n", "last": "o",
	"time": "s?", "code": "", "signal": "s?", "core": "b", "outOfMemory": "b", "monotonic": "n", "lived": "n", "told": "b",
	"flapping": "b", "causes": "a", "text": "s", "mend": "s", "ends": "a", "lines": "a", "line": "s", "more": "b",
}

// TestSvSchema holds every object of the golden files to the schema, and that to the README.
func TestSvSchema(t *testing.T) {
	readme, err := os.ReadFile("../supervise/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for member := range schema {
		if !bytes.Contains(readme, []byte("`"+member+"`")) {
			t.Errorf("supervise/README.md does not name %s", member)
		}
	}
	required := map[string][]string{
		"list": {"version", "service", "path", "state", "well", "linked", "log"}, "why": {"version", "service", "state", "flapping", "causes", "ends", "lines"},
		"watch": {"version", "time", "service", "state", "linked"}, "log": {"version", "service", "time", "line"}, "lint": {"version", "service", "path", "code", "text"}, "status": {"service"},
	}
	for verb, members := range required {
		text, err := os.ReadFile("../testdata/golden/" + verb + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var object map[string]any
			if err := json.Unmarshal(line, &object); err != nil {
				t.Errorf("%s: %v: %s", verb, err, line)
				continue
			}
			for _, member := range members {
				if _, there := object[member]; !there {
					t.Errorf("%s: no %s: %s", verb, member, line)
				}
			}
			if v, there := object["version"]; there && v != float64(jsonVersion) {
				t.Errorf("%s: version %v", verb, v)
			}
			conforms(t, verb, object)
		}
	}
}

// conforms looks at each member of an object, and of those in it.
func conforms(t *testing.T, verb string, object map[string]any) {
	t.Helper()
	for member, value := range object {
		kind, known := schema[member]
		if !known {
			t.Errorf("%s: %s is in no schema", verb, member)
		}
		is := map[bool]string{true: "?"}[value == nil]
		switch v := value.(type) {
		case string:
			is = "s"
			if (member == "time" || member == "since") && v != "" {
				if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
					t.Errorf("%s: %s: %v", verb, member, err)
				}
			}
		case float64:
			is = "n"
		case bool:
			is = "b"
		case map[string]any:
			is = "o"
			conforms(t, verb, v)
		case []any:
			is = "a"
			for _, one := range v {
				if inner, ok := one.(map[string]any); ok {
					conforms(t, verb, inner)
				}
			}
		}
		if kind != "" && !strings.Contains(kind, is) {
			t.Errorf("%s: %s is %v", verb, member, value)
		}
	}
}
