// Package net is what pflag needs of Go's package of that name to be compiled: it has options
// that are addresses, of which there is none here. Go's is 50 KB, though nothing calls it, and
// does some work at each start.
package net

import "errors"

// IP is an address.
type IP []byte

// IPMask says which bits of an address are those of the network.
type IPMask []byte

// IPNet is a network.
type IPNet struct {
	IP   IP
	Mask IPMask
}

// String is empty.
func (IP) String() string { return "" }

// String is empty.
func (IPMask) String() string { return "" }

// String is empty.
func (*IPNet) String() string { return "" }

// ParseIP knows no address.
func ParseIP(string) IP { return nil }

// ParseCIDR knows no network.
func ParseCIDR(string) (IP, *IPNet, error) { return nil, nil, errors.New("net is left out") }

// IPv4Mask is a mask of four bytes.
func IPv4Mask(a, b, c, d byte) IPMask { return IPMask{a, b, c, d} }
