package logger

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// with is the default configuration with a change.
func with(change func(*Config)) Config {
	c := defaults()
	change(&c)
	return c
}

func TestParseConfig(t *testing.T) {
	for _, tt := range []struct {
		text     string
		want     Config
		problems []string
	}{
		{"", defaults(), nil},
		{"# a comment\n\n x\nz9\n", defaults(), nil},
		{"s5000", with(func(c *Config) { c.Size = 5000 }), nil},
		{"s5k\n", with(func(c *Config) { c.Size = 5120 }), nil},
		{"s2m\n", with(func(c *Config) { c.Size = 2 << 20 }), nil},
		{"s 5\n", with(func(c *Config) { c.Size = 0 }), nil},
		{"s5x\n", with(func(c *Config) { c.Size = 5 }), nil},
		{"s5 k\n", with(func(c *Config) { c.Size = 5 }), nil},
		{"s5g\n", with(func(c *Config) { c.Size = 5 }), nil},
		{"s0\ns1\ns7\n", with(func(c *Config) { c.Size = 7 }), nil},
		{"s99999999999999999999k\n", with(func(c *Config) { c.Size = math.MaxInt64 }), nil},
		{"n\nN3\n", with(func(c *Config) { c.Keep, c.KeepFull = 0, 3 }), nil},
		{"t90\n", with(func(c *Config) { c.Age = 90 * time.Second }), nil},
		{"t2m\n", with(func(c *Config) { c.Age = 2 * time.Minute }), nil},
		{"t2h\n", with(func(c *Config) { c.Age = 2 * time.Hour }), nil},
		{"t1d\n", with(func(c *Config) { c.Age = time.Second }), nil},
		{"!first\n!second one\n!\n", with(func(c *Config) { c.Command = "second one" }), nil},
		{"pweb: \np\n", with(func(c *Config) { c.Prefix = "web: " }), nil},
		{"ptab\r\n", with(func(c *Config) { c.Prefix = "tab\r" }), nil},
		{"pab\x00cd\n", with(func(c *Config) { c.Prefix = "ab" }), nil},
		{"-*\n+b*\ne*\nEx\n", with(func(c *Config) {
			c.ForLog = []Rule{{false, "*"}, {true, "b*"}}
			c.ForStderr = []Rule{{true, "*"}, {false, "x"}}
		}), nil},
		{"S5g\n", with(func(c *Config) { c.Total = 5 << 30 }), nil},
		{"S100\nS3k", with(func(c *Config) { c.Total = 3072 }), nil},
		{"odrop\n", with(func(c *Config) { c.Drop = true }), nil},
		{"odrop\nowait\nonever\n", defaults(), nil},
		{"u127.0.0.1\n", with(func(c *Config) { c.UDP = address("127.0.0.1:514") }), nil},
		{"u1.2.3.4:5 here\n", with(func(c *Config) { c.UDP = address("1.2.3.4:5") }), nil},
		{"u257.2.3.4:65537\n", with(func(c *Config) { c.UDP = address("1.2.3.4:1") }), nil},
		{"U1.2.3.4:5\nu1.2.3.4:6\n", with(func(c *Config) {
			c.UDP, c.UDPOnly = address("1.2.3.4:6"), true
		}), nil},
		{"u[::1]:99\n", with(func(c *Config) { c.UDP = address("[::1]:99") }), nil},
		{"u[2001:db8::5]\n", with(func(c *Config) { c.UDP = address("[2001:db8::5]:514") }), nil},
		{"u[127.0.0.1]:5\n", defaults(), []string{"unable to scan ip address: [127.0.0.1]:5"}},
		{"u[::1\n", defaults(), []string{"unable to scan ip address: [::1"}},
		{"ufoo\n", defaults(), []string{"unable to scan ip address: foo"}},
		{"u1.2.3\n", defaults(), []string{"unable to scan ip address: 1.2.3"}},
		{"u1.2.3.4:0\n", defaults(), []string{"unable to scan port number: 0"}},
		{"u1.2.3.4:x\nu1.2.3.4:1", with(func(c *Config) { c.UDP = address("1.2.3.4:1") }), []string{"unable to scan port number: x"}},
	} {
		got, problems := ParseConfig([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
		if diff := cmp.Diff(tt.problems, problems); diff != "" {
			t.Errorf("%q: problems (-want +got):\n%s", tt.text, diff)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("s1m\nn3\nN2\nt5h\n!gzip\nu1.2.3.4:5\nU[::1]:6\npx\n+a\n-b\ne*\nE+c\nS9g\nodrop\n#\n"))
	f.Add([]byte("s\x00\nu1.2.3.4.5:999999999999999999999999\nu[fe80::1%eth0]:1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _ := ParseConfig(text)
		if c.Size < 0 || c.Keep < 0 || c.KeepFull < 0 || c.Total < 0 || c.Age < 0 {
			t.Errorf("%q: below zero: %+v", text, c)
		}
		// A line that nobody knows changes nothing, wherever it is.
		again, _ := ParseConfig(append(append([]byte("#x\n"), text...), "\nZ9\n"...))
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("%q: with unknown lines (-without +with):\n%s", text, diff)
		}
	})
}

func TestSelected(t *testing.T) {
	rules := []Rule{{false, "*"}, {true, "web*"}, {false, "*: debug*"}}
	for line, want := range map[string]bool{
		"web: started": true, "web: debug: x": false, "other": false, "": false,
	} {
		if got := selected(rules, []byte(line), true); got != want {
			t.Errorf("selected(%q) = %v, want %v", line, got, want)
		}
	}
	if !selected(nil, nil, true) || selected(nil, nil, false) {
		t.Error("without rules the default does not hold")
	}
}

// address is an address as net/netip reads it.
func address(text string) Address {
	a := netip.MustParseAddrPort(text)
	return Address{string(a.Addr().AsSlice()), a.Port()}
}

// TestParseIPv6: what is an address is so for net/netip, and the same.
func TestParseIPv6(t *testing.T) {
	same := func(text string) {
		want := ""
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() && a.Zone() == "" {
			want = string(a.AsSlice())
		}
		if got := parseIPv6(text); got != want {
			t.Errorf("%q is % x, want % x", text, got, want)
		}
	}
	for _, text := range []string{"", ":", "::", ":::", "::1", "1::", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
		"1:2:3:4::5:6:7:8", "1:2:3:4:5:6:7:8::", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:", "12345::", "g::", "+1::", "1_0::", "fE80::aB", "fe80::1%eth0", "::ffff:1.2.3.4", "::1.2.3", "::1.2.3.4.5",
		"::01.2.3.4", "::256.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4", "::1.2.3.", "00001::", "0000::0001"} {
		same(text)
	}
	for range 200_000 {
		text := make([]byte, rand.IntN(24))
		for i := range text {
			text[i] = "::::12af0."[rand.IntN(10)]
		}
		same(string(text))
	}
}
