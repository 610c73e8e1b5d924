package fmt

import (
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// wrapped is an error with a text of its own and the errors in it.
type wrapped struct {
	text   string
	causes []error
}

func (w *wrapped) Error() string   { return w.text }
func (w *wrapped) Unwrap() []error { return w.causes }

func wrap(format string, args []any) error {
	w := &wrapped{text: string(appendf(nil, format, args))}
	nth := 0
	for rest := format; ; {
		_, after, more := strings.Cut(rest, "%")
		if !more {
			return w
		}
		v, after := parseVerb(after)
		if rest = after; v.letter == '%' {
			continue
		}
		if v.letter == 'w' {
			if err, ok := args[nth].(error); ok {
				w.causes = append(w.causes, err)
			}
		}
		nth++
	}
}

// verb is what stands behind a percent sign.
type verb struct {
	letter                 byte
	left, zero, plus, hash bool
	width, precision       int // -1 is none
}

func parseVerb(text string) (v verb, rest string) {
	v = verb{width: -1, precision: -1}
	i := 0
	for ; strings.IndexByte("-0+#", text[i]) >= 0; i++ {
		v.left = v.left || text[i] == '-'
		v.zero = v.zero || text[i] == '0'
		v.plus = v.plus || text[i] == '+'
		v.hash = v.hash || text[i] == '#'
	}
	number := func() int {
		n := 0
		for ; text[i] >= '0' && text[i] <= '9'; i++ {
			n = n*10 + int(text[i]-'0')
		}
		return n
	}
	v.width = number()
	if text[i] == '.' {
		i++
		v.precision = number()
	}
	v.letter = text[i]
	return v, text[i+1:]
}

// appendf appends format, with the arguments in their places.
func appendf(b []byte, format string, args []any) []byte {
	for {
		plain, rest, more := strings.Cut(format, "%")
		b = append(b, plain...)
		if !more {
			return b
		}
		v, after := parseVerb(rest)
		if format = after; v.letter == '%' {
			b = append(b, '%')
			continue
		}
		b = v.append(b, args[0])
		args = args[1:]
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
	return "%!" + string(v.letter) + "(?)", false
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
