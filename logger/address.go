package logger

import (
	"strconv"
	"strings"

	"runitbox/applets/slim/fmt"
)

// Address is where datagrams go: the 4 or 16 bytes of an IP address, none for nowhere, and
// a port. Package net/netip, which knows more about them, is 20 KB of the executable.
type Address struct {
	IP   string
	Port uint16
}

// ParseAddress reads an address as svlogd's config file has it.
func ParseAddress(text string) (Address, error) { return parseAddr(text) }

// parseAddr reads A.B.C.D[:PORT], octets and port modulo their size and
// followed by anything, as runit does, and [IPv6][:PORT].
func parseAddr(text string) (a Address, err error) {
	bad := fmt.Errorf("unable to scan ip address: %s", text)
	rest := text
	if inner, ok := strings.CutPrefix(text, "["); ok {
		inner, rest, ok = strings.Cut(inner, "]")
		if a.IP = parseIPv6(inner); !ok || a.IP == "" {
			return Address{}, bad
		}
	} else {
		var octets [4]byte
		for i := range octets {
			if i > 0 {
				var ok bool
				if rest, ok = strings.CutPrefix(rest, "."); !ok {
					return Address{}, bad
				}
			}
			n, digits := Digits(rest)
			if digits == 0 {
				return Address{}, bad
			}
			octets[i], rest = byte(n), rest[digits:]
		}
		a.IP = string(octets[:])
	}
	port := int64(514)
	if after, ok := strings.CutPrefix(rest, ":"); ok {
		if port, _ = Digits(after); port == 0 {
			return Address{}, fmt.Errorf("unable to scan port number: %s", after)
		}
	}
	a.Port = uint16(port)
	return a, nil
}

// parseIPv6 is the 16 bytes of an address: groups of hexadecimal digits, of which "::"
// leaves out one or more that are zero. It is empty for what is none.
func parseIPv6(text string) string {
	head, tail, gap := strings.Cut(text, "::")
	first, ok := groups(head, !gap)
	last, ok2 := groups(tail, true)
	zeros := 16 - len(first) - len(last)
	if !ok || !ok2 || gap && zeros < 2 || !gap && zeros != 0 {
		return ""
	}
	return first + strings.Repeat("\x00", zeros) + last
}

// groups are the bytes of groups with colons between them. The last of an address may be
// an IPv4 address, which takes the place of two.
func groups(text string, ends bool) (bytes string, ok bool) {
	for text != "" {
		group, rest, more := strings.Cut(text, ":")
		if text = rest; more && rest == "" || len(bytes) > 16 {
			return "", false
		}
		if ends && !more && strings.Contains(group, ".") {
			four := octets(group)
			return bytes + four, four != ""
		}
		n, err := strconv.ParseUint(group, 16, 16)
		if err != nil || len(group) > 4 {
			return "", false
		}
		bytes += string([]byte{byte(n >> 8), byte(n)})
	}
	return bytes, true
}

// octets are the four bytes of A.B.C.D, without zeros before a number.
func octets(text string) string {
	var four []byte
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(part) > 1 && part[0] == '0' || len(four) == 4 {
			return ""
		}
		four = append(four, byte(n))
	}
	if len(four) < 4 {
		return ""
	}
	return string(four)
}
