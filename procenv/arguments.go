package procenv

import "errors"

// errNul is why a file holds no arguments: the kernel would end one at a NUL.
var errNul = errors.New("a line holds a NUL byte")

// Arguments are the lines of the file at path, each an argument as it stands:
// there is no quoting, and blanks belong to it. Lines that begin with # (such as
// the first of a script) and empty ones count for nothing. An Error tells why the
// file cannot be read or passed on.
func Arguments(path string) ([]string, error) {
	content, err := read(path)
	if err == nil && contains(string(content), 0) {
		err = errNul
	}
	if err != nil {
		return nil, failed("read arguments: "+path, err)
	}
	var args []string
	for line := range split(string(content), '\n') {
		if line != "" && line[0] != '#' {
			args = append(args, line)
		}
	}
	return args, nil
}
