package applets

import (
	"strconv"
	"time"
)

// jsonVersion is the version of what the verbs of sv print for programs. It goes up
// when a member is removed or gets another meaning; new members do not change it.
const jsonVersion = 1

// object is a JSON object that is being written, member by member.
type object struct{ b []byte }

// newObject begins an object that says its version.
func newObject() *object {
	o := &object{}
	return o.number("version", jsonVersion)
}

// member begins one.
func (o *object) member(name string) {
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
}

// raw is a member whose value is JSON already.
func (o *object) raw(name, value string) *object {
	o.member(name)
	o.b = append(o.b, value...)
	return o
}

func (o *object) text(name, value string) *object { return o.raw(name, jsonText(value)) }

func (o *object) number(name string, value int64) *object {
	return o.raw(name, strconv.FormatInt(value, 10))
}

func (o *object) boolean(name string, value bool) *object {
	return o.raw(name, strconv.FormatBool(value))
}

func (o *object) null(name string) *object { return o.raw(name, "null") }

// time is a moment in UTC.
func (o *object) time(name string, value time.Time) *object {
	return o.text(name, value.UTC().Format(time.RFC3339Nano))
}

// String is the whole object.
func (o *object) String() string {
	if len(o.b) == 0 {
		return "{}"
	}
	return string(o.b) + "}"
}

// list is a JSON array of values that are JSON already.
func list(values []string) string {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return string(append(b, ']'))
}
