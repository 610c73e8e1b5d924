package loaders

// option is an option: a letter, a long name, or both.
type option struct {
	letter byte
	long   string
	value  bool // an argument follows
}

// name is what getopt calls the option: its letter where it has one.
func (f option) name() string {
	if f.letter != 0 {
		return string(rune(f.letter))
	}
	return f.long
}

// getopt reads options as the C library does: letters may be combined, a value
// may be attached or be the next argument, and the first argument that is no
// option, or --, ends them. Beside it there are long options: --name value or
// --name=value. The loaders cannot afford cobra.
type getopt struct {
	flags   []option
	args    []string // what has not been read: in the end, the operands
	cluster string   // the letters left of an argument as -P01

	name  string // the option that next found
	value string
	wrong string // why next stopped, in getopt's words
}

// next reads an option and says whether there was one.
func (g *getopt) next() bool {
	if g.cluster == "" {
		if len(g.args) == 0 || len(g.args[0]) < 2 || g.args[0][0] != '-' {
			return false
		}
		arg := g.args[0][1:]
		g.args = g.args[1:]
		if arg == "-" {
			return false
		}
		if arg[0] == '-' {
			return g.long(arg[1:])
		}
		g.cluster = arg
	}
	letter := g.cluster[0]
	g.cluster = g.cluster[1:]
	for _, f := range g.flags {
		if f.letter != letter {
			continue
		}
		g.name, g.value = f.name(), ""
		if !f.value {
			return true
		}
		attached := g.cluster
		g.cluster = ""
		return g.take(f.name(), attached, attached != "")
	}
	g.wrong = "illegal option -- " + string([]byte{letter})
	return false
}

// long reads --name or --name=value.
func (g *getopt) long(text string) bool {
	name, value, attached := cut(text, '=')
	for _, f := range g.flags {
		if f.long != name || name == "" {
			continue
		}
		g.name, g.value = f.name(), ""
		if f.value {
			return g.take(name, value, attached)
		}
		if attached {
			break
		}
		return true
	}
	g.wrong = "illegal option -- " + text
	return false
}

// take gives the option its value: what is attached, or the next argument.
func (g *getopt) take(name, value string, attached bool) bool {
	if !attached {
		if len(g.args) == 0 {
			g.wrong = "option requires an argument -- " + name
			return false
		}
		value, g.args = g.args[0], g.args[1:]
	}
	g.value = value
	return true
}
