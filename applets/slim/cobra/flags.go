package cobra

import (
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// FlagSet are the options of a command.
type FlagSet struct {
	SortFlags bool // tells them in order of their names

	all          []*Flag
	interspersed bool // options may come behind operands
	operands     []string
}

// Flag is an option.
type Flag struct {
	Name, Shorthand, Usage, DefValue string
	Changed, Hidden                  bool

	kind string // as help calls the value; bool and count take none
	set  func(text string) error
	text func() string
}

// SetInterspersed says whether options may come behind operands.
func (f *FlagSet) SetInterspersed(may bool) { f.interspersed = may }

// Changed says whether the option was given.
func (f *FlagSet) Changed(name string) bool {
	flag := f.find(name)
	return flag != nil && flag.Changed
}

// GetBool is the value of an option that takes none.
func (f *FlagSet) GetBool(name string) (bool, error) {
	flag := f.find(name)
	return flag != nil && flag.text() == "true", nil
}

// MarkHidden keeps the option out of help.
func (f *FlagSet) MarkHidden(name string) error {
	f.find(name).Hidden = true
	return nil
}

// Bool adds an option that takes no value.
func (f *FlagSet) Bool(name string, value bool, usage string) *bool {
	return f.BoolP(name, "", value, usage)
}

// BoolP is Bool with a letter.
func (f *FlagSet) BoolP(name, letter string, value bool, usage string) *bool {
	f.BoolVarP(&value, name, letter, value, usage)
	return &value
}

// BoolVar is Bool with a place for it.
func (f *FlagSet) BoolVar(p *bool, name string, value bool, usage string) {
	f.BoolVarP(p, name, "", value, usage)
}

// BoolVarP is BoolVar with a letter.
func (f *FlagSet) BoolVarP(p *bool, name, letter string, value bool, usage string) {
	*p = value
	f.add(&Flag{Name: name, Shorthand: letter, Usage: usage, kind: "bool",
		set:  func(text string) (err error) { *p, err = strconv.ParseBool(text); return err },
		text: func() string { return strconv.FormatBool(*p) }})
}

// CountVarP adds an option that counts how often it is given.
func (f *FlagSet) CountVarP(p *int, name, letter, usage string) {
	*p = 0
	f.add(&Flag{Name: name, Shorthand: letter, Usage: usage, kind: "count",
		set: func(text string) (err error) {
			if text == "true" {
				*p++
				return nil
			}
			*p, err = strconv.Atoi(text)
			return err
		},
		text: func() string { return strconv.Itoa(*p) }})
}

// StringVar adds an option with a value.
func (f *FlagSet) StringVar(p *string, name, value, usage string) {
	f.StringVarP(p, name, "", value, usage)
}

// StringVarP is StringVar with a letter.
func (f *FlagSet) StringVarP(p *string, name, letter, value, usage string) {
	*p = value
	f.add(&Flag{Name: name, Shorthand: letter, Usage: usage, kind: "string",
		set:  func(text string) error { *p = text; return nil },
		text: func() string { return *p }})
}

// IntVar adds an option with a number.
func (f *FlagSet) IntVar(p *int, name string, value int, usage string) {
	f.IntVarP(p, name, "", value, usage)
}

// IntVarP is IntVar with a letter.
func (f *FlagSet) IntVarP(p *int, name, letter string, value int, usage string) {
	*p = value
	f.add(&Flag{Name: name, Shorthand: letter, Usage: usage, kind: "int",
		set:  func(text string) (err error) { *p, err = strconv.Atoi(text); return err },
		text: func() string { return strconv.Itoa(*p) }})
}

func (f *FlagSet) add(flag *Flag) {
	flag.DefValue = flag.text()
	f.all = append(f.all, flag)
}

func (f *FlagSet) find(name string) *Flag {
	for _, flag := range f.all {
		if flag.Name == name {
			return flag
		}
	}
	return nil
}

func (f *FlagSet) letter(letter string) *Flag {
	for _, flag := range f.all {
		if flag.Shorthand == letter {
			return flag
		}
	}
	return nil
}

// VisitAll calls do with each option.
func (f *FlagSet) VisitAll(do func(*Flag)) {
	all := slices.Clone(f.all)
	if f.SortFlags {
		sort.SliceStable(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	}
	for _, flag := range all {
		do(flag)
	}
}

// FlagUsages is a line for each option.
func (f *FlagSet) FlagUsages() string {
	var heads, texts []string
	widest := 0
	f.VisitAll(func(flag *Flag) {
		if flag.Hidden {
			return
		}
		head := "      --" + flag.Name
		if flag.Shorthand != "" {
			head = "  -" + flag.Shorthand + ", --" + flag.Name
		}
		value, usage := flag.kind, flag.Usage
		if before, rest, quoted := strings.Cut(usage, "`"); quoted {
			name, after, _ := strings.Cut(rest, "`")
			value, usage = name, before+name+after
		}
		if value != "bool" {
			head += " " + value
		}
		switch {
		case flag.DefValue == "" || flag.DefValue == "false" || flag.DefValue == "0":
		case flag.kind == "string":
			usage += " (default " + strconv.Quote(flag.DefValue) + ")"
		default:
			usage += " (default " + flag.DefValue + ")"
		}
		heads, texts = append(heads, head), append(texts, usage)
		widest = max(widest, len(head))
	})
	var b strings.Builder
	for i, head := range heads {
		b.WriteString(head + strings.Repeat(" ", widest-len(head)) + "   " + texts[i] + "\n")
	}
	return b.String()
}

// flagError is a wrong option: its name is what was typed.
type flagError struct{ text, name string }

func (e *flagError) Error() string { return e.text }

// GetSpecifiedName is the name without its dashes.
func (e *flagError) GetSpecifiedName() string { return e.name }

// Args are the operands, when options have been read.
func (f *FlagSet) Args() []string { return f.operands }

// parse reads options and keeps the operands.
func (f *FlagSet) parse(args []string) (err error) {
	f.operands = nil
	for len(args) > 0 && err == nil {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			f.operands = append(f.operands, args...)
			return nil
		case len(arg) < 2 || arg[0] != '-':
			f.operands = append(f.operands, arg)
			if !f.interspersed {
				f.operands = append(f.operands, args...)
				return nil
			}
		case arg[1] == '-':
			args, err = f.long(arg[2:], args)
		default:
			args, err = f.letters(arg[1:], args)
		}
	}
	return err
}

// long reads --name, --name=value or --name value.
func (f *FlagSet) long(text string, args []string) ([]string, error) {
	if text[0] == '-' || text[0] == '=' {
		return nil, errors.New("bad flag syntax: --" + text)
	}
	name, value, attached := strings.Cut(text, "=")
	flag := f.find(name)
	switch {
	case flag == nil:
		return nil, &flagError{"unknown flag: --" + name, name}
	case attached:
	case flag.plain():
		value = "true"
	case len(args) == 0:
		return nil, &flagError{"flag needs an argument: --" + name, name}
	default:
		value, args = args[0], args[1:]
	}
	return args, flag.take(value)
}

// letters reads -abc, -wVALUE, -w=VALUE or -w VALUE.
func (f *FlagSet) letters(text string, args []string) ([]string, error) {
	for rest := text; rest != ""; {
		letter := rest[:1]
		rest = rest[1:]
		flag := f.letter(letter)
		value := "true"
		switch {
		case flag == nil && letter == "h":
			return nil, errHelp
		case flag == nil:
			return nil, &flagError{"unknown shorthand flag: " + strconv.QuoteRune(rune(letter[0])) + " in -" + text, letter}
		case len(rest) > 1 && rest[0] == '=':
			value, rest = rest[1:], ""
		case flag.plain():
		case rest != "":
			value, rest = rest, ""
		case len(args) == 0:
			return nil, &flagError{"flag needs an argument: " + strconv.QuoteRune(rune(letter[0])) + " in -" + text, letter}
		default:
			value, args = args[0], args[1:]
		}
		if err := flag.take(value); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// plain says whether the option takes no value.
func (flag *Flag) plain() bool { return flag.kind == "bool" || flag.kind == "count" }

func (flag *Flag) take(value string) error {
	flag.Changed = true
	if flag.set(value) != nil {
		names := "--" + flag.Name
		if flag.Shorthand != "" {
			names = "-" + flag.Shorthand + ", " + names
		}
		return errors.New("invalid argument " + strconv.Quote(value) + " for " + strconv.Quote(names))
	}
	return nil
}
