package reader

import "encoding/binary"

// IsPlain says whether a line has only what no terminal acts on, in ASCII; tabs are.
func IsPlain(text []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		// A top bit is set where some byte is below a blank, or 0x7f and above.
		w := binary.LittleEndian.Uint64(text)
		if ((w-ones*' ')|(w+ones)|w)&tops != 0 && !arePlain(text[:8]) {
			return false
		}
	}
	return arePlain(text)
}

func arePlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}
