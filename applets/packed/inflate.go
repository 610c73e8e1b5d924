package packed

import "strings"

// inflate unpacks a DEFLATE stream (RFC 1951) that is known to be whole. It is a tenth of
// what compress/flate brings, which also packs, reads from anything and trusts nobody.
func inflate(stream string) string {
	r := reader{in: stream}
	for last := false; !last && stream != ""; {
		last = r.bits(1) == 1
		switch r.bits(2) {
		case 0:
			r.stored()
		case 1:
			r.block(fixedCodes())
		case 2:
			r.block(r.codes())
		}
	}
	return string(r.out)
}

// reader takes bits from a stream, the lowest of a byte first.
type reader struct {
	in  string
	at  int // in bits
	out []byte
}

func (r *reader) bits(n int) (value int) {
	for i := range n {
		value |= int(r.in[r.at>>3]>>(r.at&7)&1) << i
		r.at++
	}
	return value
}

// code leads from words of bits to symbols. A word is written behind a 1, so that those of
// different lengths are different numbers.
type code []uint16

// none is a word that stands for no symbol: more bits follow.
const none = 1<<16 - 1

// newCode is the code in which the word of each symbol has so many bits, none where that is 0.
func newCode(lengths []byte) code {
	c := make(code, 1<<16)
	for i := range c {
		c[i] = none
	}
	next := 0
	for n := 1; n <= 15; n++ {
		next <<= 1
		for symbol, length := range lengths {
			if int(length) == n {
				c[1<<n|next] = uint16(symbol)
				next++
			}
		}
	}
	return c
}

func (r *reader) symbol(c code) int {
	word := 1
	for c[word] == none {
		word = word<<1 | r.bits(1)
	}
	return int(c[word])
}

// stored copies a block that is not packed.
func (r *reader) stored() {
	r.at = (r.at + 7) &^ 7
	n := r.bits(16)
	r.bits(16) // the same, inverted
	r.out = append(r.out, r.in[r.at>>3:][:n]...)
	r.at += n << 3
}

// fixedCodes are those that need no telling.
func fixedCodes() (symbols, distances code) {
	lengths := strings.Repeat("\x08", 144) + strings.Repeat("\x09", 112) + strings.Repeat("\x07", 24) + strings.Repeat("\x08", 8)
	return newCode([]byte(lengths)), newCode([]byte(strings.Repeat("\x05", 30)))
}

// codes reads those that stand before a block, themselves in a code.
func (r *reader) codes() (symbols, distances code) {
	nSymbols, nDistances, n := r.bits(5)+257, r.bits(5)+1, r.bits(4)+4
	order := "\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"
	of := make([]byte, 19)
	for i := range n {
		of[order[i]] = byte(r.bits(3))
	}
	c := newCode(of)
	var lengths []byte
	for len(lengths) < nSymbols+nDistances {
		length, times := byte(0), 1
		switch s := r.symbol(c); s {
		case 16:
			length, times = lengths[len(lengths)-1], r.bits(2)+3
		case 17:
			times = r.bits(3) + 3
		case 18:
			times = r.bits(7) + 11
		default:
			length = byte(s)
		}
		for range times {
			lengths = append(lengths, length)
		}
	}
	return newCode(lengths[:nSymbols]), newCode(lengths[nSymbols:])
}

// block unpacks until the symbol that ends it: bytes as they are, and lengths of what
// stood at a distance before.
func (r *reader) block(symbols, distances code) {
	for {
		s := r.symbol(symbols)
		switch {
		case s < 256:
			r.out = append(r.out, byte(s))
			continue
		case s == 256:
			return
		}
		length := 258
		if s < 285 {
			length = r.span(s-257, 4) + 3
		}
		distance := r.span(r.symbol(distances), 2) + 1
		for range length {
			r.out = append(r.out, r.out[len(r.out)-distance])
		}
	}
}

// span is the number that a symbol stands for: so many symbols in a row have the same number
// of further bits, and the next ones have one bit more. The first two rows have none.
func (r *reader) span(symbol, row int) int {
	if symbol < 2*row {
		return symbol
	}
	more := symbol/row - 1
	return (row+symbol%row)<<more + r.bits(more)
}
