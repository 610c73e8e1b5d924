package self

import (
	"bytes"
	"os"
	"strconv"
)

// Title shows text in place of the process's arguments, as ps does. It may take the place of
// the environment that the process was started with, too: Go has a copy of that.
func Title(text string) error {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err
	}
	const argStart, argEnd, envEnd = 45, 46, 48 // behind the name: addresses in this process
	var at [envEnd + 1]int64
	i := 0
	for f := range bytes.FieldsSeq(b[bytes.LastIndexByte(b, ')')+1:]) {
		if i >= argStart && i <= envEnd {
			if at[i], err = strconv.ParseInt(string(f), 10, 64); err != nil {
				return err
			}
		}
		i++
	}
	room := at[envEnd] - at[argStart]
	if room <= 0 {
		return os.ErrInvalid
	}
	text = text[:min(len(text), int(room)-1)]
	line := make([]byte, max(len(text)+1, int(at[argEnd]-at[argStart]))) // what was longer is overwritten
	copy(line, text)
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	_, err = mem.WriteAt(line, at[argStart])
	return err
}
