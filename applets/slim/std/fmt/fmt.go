// Package fmt is Go's package of that name as far as it prints what the suite, cobra and pflag
// print: texts, numbers, truth values, errors, whatever has a String, and lists of texts. Go's
// prints anything, by package reflect; together they are 120 KB.
package fmt

import (
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sprintf is a text.
func Sprintf(format string, args ...any) string { return string(Appendf(nil, format, args...)) }

// Sprint is its arguments, one behind the other, with a space between two that are no texts.
func Sprint(args ...any) string { return string(appendAll(nil, args)) }

// Sprintln is its arguments with spaces between them, and the end of a line.
func Sprintln(args ...any) string { return string(appendLine(nil, args)) }

// Fprintf writes a text.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return w.Write(Appendf(nil, format, args...))
}

// Fprint writes what Sprint is.
func Fprint(w io.Writer, args ...any) (int, error) { return w.Write(appendAll(nil, args)) }

// Fprintln writes what Sprintln is.
func Fprintln(w io.Writer, args ...any) (int, error) { return w.Write(appendLine(nil, args)) }

// plain is an error that wraps no other.
type plain struct{ text string }

func (e *plain) Error() string { return e.text }

// wrapped is an error that wraps one.
type wrapped struct {
	plain
	cause error
}

func (e *wrapped) Unwrap() error { return e.cause }

// wrappedAll is an error that wraps several.
type wrappedAll struct {
	plain
	causes []error
}

func (e *wrappedAll) Unwrap() []error { return e.causes }

// Errorf is an error with a text; what %w stands for is wrapped.
func Errorf(format string, args ...any) error {
	text := plain{Sprintf(format, args...)}
	var causes []error
	nth := 0
	for rest := format; ; {
		_, after, more := strings.Cut(rest, "%")
		if !more {
			break
		}
		v, after := parseVerb(after)
		if rest = after; v.letter == '%' {
			continue
		}
		nth = v.argument(nth)
		if v.letter == 'w' && nth < len(args) {
			if err, ok := args[nth].(error); ok {
				causes = append(causes, err)
			}
		}
		nth++
	}
	switch len(causes) {
	case 0:
		return &text
	case 1:
		return &wrapped{text, causes[0]}
	}
	return &wrappedAll{text, causes}
}

// verb is what stands behind a percent sign.
type verb struct {
	letter                 byte
	left, zero, plus, hash bool
	width, precision       int // -1 is none
	index                  int // which argument it is for, from 1; 0 is the next
}

func parseVerb(text string) (v verb, rest string) {
	v = verb{precision: -1}
	next := func() byte { // 0 at the end
		if rest == "" {
			return 0
		}
		return rest[0]
	}
	number := func() int {
		n := 0
		for ; next() >= '0' && next() <= '9'; rest = rest[1:] {
			n = n*10 + int(next()-'0')
		}
		return n
	}
	rest = strings.TrimLeft(text, "-0+#")
	flags := text[:len(text)-len(rest)]
	v.left, v.zero = strings.Contains(flags, "-"), strings.Contains(flags, "0")
	v.plus, v.hash = strings.Contains(flags, "+"), strings.Contains(flags, "#")
	v.width = number()
	if next() == '.' {
		rest = rest[1:]
		v.precision = number()
	}
	if next() == '[' {
		rest = rest[1:]
		v.index = number()
		rest = strings.TrimPrefix(rest, "]")
	}
	if v.letter = next(); v.letter != 0 {
		rest = rest[1:]
	}
	return v, rest
}

// argument is which one the verb is for, from 0, where nth is the next.
func (v verb) argument(nth int) int {
	if v.index > 0 {
		return v.index - 1
	}
	return nth
}

// Appendf appends format to b, with the arguments in their places.
func Appendf(b []byte, format string, args ...any) []byte {
	for nth := 0; ; nth++ {
		words, rest, more := strings.Cut(format, "%")
		b = append(b, words...)
		if !more {
			return b
		}
		var v verb
		if v, format = parseVerb(rest); v.letter == '%' {
			b = append(b, '%')
			nth--
			continue
		}
		nth = v.argument(nth)
		switch {
		case v.letter == 0:
			b = append(b, "%!(NOVERB)"...)
		case nth < len(args):
			b = v.append(b, args[nth])
		default:
			b = append(b, "%!"+string(v.letter)+"(MISSING)"...)
		}
	}
}

// append appends an argument in the width that v has.
func (v verb) append(b []byte, arg any) []byte {
	text, number := v.text(arg)
	pad := v.width - utf8.RuneCountInString(text)
	switch {
	case pad <= 0:
	case v.left:
		text += strings.Repeat(" ", pad)
	case v.zero && number && text[0] == '-':
		text = "-" + strings.Repeat("0", pad) + text[1:]
	case v.zero && number:
		text = strings.Repeat("0", pad) + text
	default:
		text = strings.Repeat(" ", pad) + text
	}
	return append(b, text...)
}

// text is an argument as v wants it, and whether it is a number.
func (v verb) text(arg any) (text string, number bool) {
	if v.letter != 'd' && v.letter != 'x' && v.letter != 'o' && v.letter != 'c' {
		switch a := arg.(type) {
		case error:
			return v.words(a.Error()), false
		case interface{ String() string }:
			return v.words(a.String()), false
		}
	}
	switch a := arg.(type) {
	case nil:
		return "<nil>", false
	case string:
		return v.words(a), false
	case []byte:
		return v.words(string(a)), false
	case []string:
		quoted := make([]string, len(a))
		for i, s := range a {
			quoted[i] = v.words(s)
		}
		return "[" + strings.Join(quoted, " ") + "]", false
	}
	switch a := reflect.ValueOf(arg); a.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.integer(strconv.FormatInt(a.Int(), v.base()), rune(a.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return v.integer(strconv.FormatUint(a.Uint(), v.base()), rune(a.Uint()))
	case reflect.Bool:
		return strconv.FormatBool(a.Bool()), false
	case reflect.String:
		return v.words(a.String()), false
	case reflect.Float64:
		letter := v.letter
		if letter == 'v' {
			letter = 'g'
		}
		return strconv.FormatFloat(a.Float(), letter, v.precision, 64), true
	}
	return "%!" + string(v.letter) + "(" + reflect.TypeOf(arg).String() + ")", false
}

func (v verb) base() int {
	switch v.letter {
	case 'x':
		return 16
	case 'o':
		return 8
	}
	return 10
}

// integer is a number in its digits, or a character.
func (v verb) integer(digits string, r rune) (text string, number bool) {
	switch {
	case v.letter == 'c':
		return string(r), false
	case v.letter == 'q':
		return strconv.QuoteRune(r), false
	case v.letter == 'x' && v.hash:
		return "0x" + digits, true
	case v.plus && digits[0] != '-':
		return "+" + digits, true
	}
	return digits, true
}

// words is a text, quoted, in hexadecimal digits or as it is, as far as v wants it.
func (v verb) words(text string) string {
	if v.precision >= 0 && utf8.RuneCountInString(text) > v.precision {
		text = string([]rune(text)[:v.precision])
	}
	switch v.letter {
	case 'q':
		if v.hash && strconv.CanBackquote(text) {
			return "`" + text + "`"
		}
		return strconv.Quote(text)
	case 'x':
		const digits = "0123456789abcdef"
		hex := make([]byte, 0, 2*len(text))
		for i := range len(text) {
			hex = append(hex, digits[text[i]>>4], digits[text[i]&15])
		}
		return string(hex)
	}
	return text
}

// appendAll appends the arguments, with a space between two that are no texts.
func appendAll(b []byte, args []any) []byte {
	spaced := false
	for i, arg := range args {
		_, text := arg.(string)
		if i > 0 && spaced && !text {
			b = append(b, ' ')
		}
		spaced = !text
		b = verb{letter: 'v', precision: -1}.append(b, arg)
	}
	return b
}

// appendLine appends the arguments with spaces between them, and the end of a line.
func appendLine(b []byte, args []any) []byte {
	for i, arg := range args {
		if i > 0 {
			b = append(b, ' ')
		}
		b = verb{letter: 'v', precision: -1}.append(b, arg)
	}
	return append(b, '\n')
}
