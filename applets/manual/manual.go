// Package manual holds the manual pages of the applets, as they are installed for man,
// and shows them where there is no man. It knows as much of man(7) as the pages use:
// TH, SH, SS, PP, TP, br, nf, fi, the fonts B, I, BR, RB, IR, RI, BI, IB, and the escapes
// \-, \&, \fB, \fI and \fR.
package manual

import (
	"slices"
	"strings"
)

// Page is the source of the page that has name in its NAME section: several applets may
// share one. It is empty where there is none.
func Page(name string) string {
	for _, text := range pages() {
		if slices.Contains(Names(text), name) {
			return text
		}
	}
	return ""
}

// Names are the names that a page is for: those before the dash of its NAME section.
func Names(page string) []string {
	_, name, _ := strings.Cut(page, "\n.SH NAME\n")
	name, _, _ = strings.Cut(name, ` \- `)
	return strings.Split(plain(name), ", ")
}

// Where text begins, in columns.
const (
	edge      = 0 // headings
	subedge   = 3 // headings of subsections
	paragraph = 7
	item      = 14 // what follows a tag
)

// Render is the text of a page, in lines of at most width columns.
func Render(page string, width int) string {
	r := renderer{width: max(width, 40), indent: paragraph}
	for line := range strings.Lines(page) {
		r.line(strings.TrimSuffix(line, "\n"))
	}
	r.flush()
	return strings.TrimPrefix(r.out.String(), "\n")
}

// renderer gathers words until a line is full or a macro ends it.
type renderer struct {
	out    strings.Builder
	width  int
	indent int
	tagged bool   // the next line is the tag of an item
	tag    string // stands where the next line of words begins
	words  []string
	asIs   bool // between nf and fi
}

// line takes a line of the source.
func (r *renderer) line(text string) {
	macro, args := "", ""
	if strings.HasPrefix(text, ".") {
		macro, args, _ = strings.Cut(text[1:], " ")
	}
	switch macro {
	case "":
		r.text(plain(text))
	case "B", "I":
		r.text(strings.Join(arguments(args), " "))
	case "BR", "RB", "IR", "RI", "BI", "IB":
		r.text(strings.Join(arguments(args), ""))
	case "SH":
		r.heading(edge, args)
	case "SS":
		r.heading(subedge, args)
	case "TP", "PP":
		r.gap(paragraph)
		r.tagged = macro == "TP"
	case "br":
		r.flush()
	case "nf", "fi":
		r.flush()
		r.asIs = macro == "nf"
	}
}

// text takes words, a line as it is, or a tag.
func (r *renderer) text(text string) {
	switch {
	case r.tagged:
		r.tagged, r.tag, r.indent = false, text, item
	case r.asIs:
		r.put(r.indent, text)
	default:
		r.words = append(r.words, strings.Fields(text)...)
	}
}

// heading ends what was before with an empty line.
func (r *renderer) heading(indent int, args string) {
	r.gap(paragraph)
	r.put(indent, strings.Join(arguments(args), " "))
}

// gap ends a paragraph; the next begins at indent. There is no gap below a heading.
func (r *renderer) gap(indent int) {
	r.flush()
	r.indent = indent
	text := r.out.String()
	last := text[strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')+1:]
	if strings.HasPrefix(last, strings.Repeat(" ", paragraph)) {
		r.out.WriteByte('\n')
	}
}

// flush writes the words that have been gathered, and the tag before them.
func (r *renderer) flush() {
	line := ""
	if r.tag != "" {
		line = strings.Repeat(" ", paragraph) + r.tag
		if len(r.tag) >= item-paragraph {
			r.out.WriteString(line + "\n")
			line = ""
		}
		r.tag = ""
	}
	line += strings.Repeat(" ", r.indent-min(len(line), r.indent))
	begin := len(line)
	for _, w := range r.words {
		switch {
		case len(line) == begin:
			line += w
		case len(line)+1+len(w) > r.width:
			r.out.WriteString(line + "\n")
			line = strings.Repeat(" ", r.indent) + w
			begin = r.indent
		default:
			line += " " + w
		}
	}
	if len(line) > begin || strings.TrimSpace(line) != "" {
		r.out.WriteString(line + "\n")
	}
	r.words = nil
}

// put writes a line that is not filled.
func (r *renderer) put(indent int, text string) {
	r.out.WriteString(strings.TrimRight(strings.Repeat(" ", indent)+text, " ") + "\n")
}

// arguments parts what follows a macro; quotes hold words together.
func arguments(text string) []string {
	var all []string
	for text = strings.TrimLeft(text, " "); text != ""; text = strings.TrimLeft(text, " ") {
		var arg string
		if text[0] == '"' {
			arg, text, _ = strings.Cut(text[1:], `"`)
		} else {
			arg, text, _ = strings.Cut(text, " ")
		}
		all = append(all, plain(arg))
	}
	return all
}

// plain takes the escapes out of text.
func plain(text string) string {
	for _, e := range [...]struct{ escape, text string }{{`\-`, "-"}, {`\&`, ""}, {`\fB`, ""}, {`\fI`, ""}, {`\fR`, ""}} {
		text = strings.ReplaceAll(text, e.escape, e.text)
	}
	return text
}
