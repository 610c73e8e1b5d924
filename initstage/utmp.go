package initstage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// The files of login records.
const (
	Utmp = "/var/run/utmp" // who is here
	Wtmp = "/var/log/wtmp" // who has been
)

// The types of login records that are made or looked for here.
const (
	runLevel    = 1
	bootTime    = 2
	userProcess = 7
	deadProcess = 8
)

// Record is a login record, the C library's struct utmp.
type Record struct {
	Type    int16
	PID     int32
	Line    string // 32 bytes at most
	ID      string // 4
	User    string // 32
	Host    string // 256
	Exit    [4]byte
	Session int64
	Time    time.Time // microseconds are kept
	Address [16]byte
}

// RecordSize is the length of a record. Most 64-bit machines have the layout of
// their 32-bit past; arm64 has none.
var RecordSize = recordSize(runtime.GOARCH)

func recordSize(arch string) int {
	if arch == "arm64" {
		return 400
	}
	return 384
}

// Bytes encodes r.
func (r Record) Bytes() []byte {
	le := binary.NativeEndian
	b := make([]byte, 8, RecordSize)
	le.PutUint16(b, uint16(r.Type))
	le.PutUint32(b[4:], uint32(r.PID))
	for _, f := range []struct {
		text string
		size int
	}{{r.Line, 32}, {r.ID, 4}, {r.User, 32}, {r.Host, 256}} {
		field := make([]byte, f.size)
		copy(field, f.text)
		b = append(b, field...)
	}
	b = append(b, r.Exit[:]...)
	sec, usec := r.Time.Unix(), r.Time.Nanosecond()/1000
	if r.Time.IsZero() {
		sec, usec = 0, 0
	}
	if RecordSize == 400 {
		b = le.AppendUint64(b, uint64(r.Session))
		b = le.AppendUint64(b, uint64(sec))
		b = le.AppendUint64(b, uint64(usec))
	} else {
		b = le.AppendUint32(b, uint32(r.Session))
		b = le.AppendUint32(b, uint32(sec))
		b = le.AppendUint32(b, uint32(usec))
	}
	b = append(b, r.Address[:]...)
	return b[:RecordSize]
}

// ParseRecord decodes a record of RecordSize bytes.
func ParseRecord(b []byte) (Record, error) {
	if len(b) != RecordSize {
		return Record{}, fmt.Errorf("a login record has %d bytes, not %d", RecordSize, len(b))
	}
	ne := binary.NativeEndian
	text := func(from, to int) string {
		s, _, _ := bytes.Cut(b[from:to], []byte{0})
		return string(s)
	}
	r := Record{
		Type: int16(ne.Uint16(b)),
		PID:  int32(ne.Uint32(b[4:])),
		Line: text(8, 40), ID: text(40, 44), User: text(44, 76), Host: text(76, 332),
		Exit: [4]byte(b[332:336]),
	}
	var sec, usec int64
	rest := b[336:]
	if RecordSize == 400 {
		r.Session, sec, usec = int64(ne.Uint64(rest)), int64(ne.Uint64(rest[8:])), int64(ne.Uint64(rest[16:]))
		rest = rest[24:]
	} else {
		r.Session, sec, usec = int64(int32(ne.Uint32(rest))), int64(int32(ne.Uint32(rest[4:]))), int64(ne.Uint32(rest[8:]))
		rest = rest[12:]
	}
	if sec != 0 || usec != 0 {
		r.Time = time.Unix(sec, usec*1000)
	}
	copy(r.Address[:], rest)
	return r, nil
}

// ErrNoEntry is the cause where utmp has no record of a line.
var ErrNoEntry = errors.New("no such entry")

// Logout ends the session on a terminal line in the file utmp: the first
// record of a user there becomes one of a dead process.
func Logout(utmp, line string, now time.Time) error {
	f, err := openLocked(utmp, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, RecordSize)
	for at := int64(0); ; at += int64(RecordSize) {
		if _, err := f.ReadAt(b, at); errors.Is(err, io.EOF) {
			return ErrNoEntry
		} else if err != nil {
			return &verbError{"read " + utmp, cause(err)}
		}
		r, err := ParseRecord(b)
		if err != nil {
			return err
		}
		if r.User == "" || r.Line != line {
			continue
		}
		r.Type, r.User, r.Host, r.Time = deadProcess, "", "", now
		if _, err := f.WriteAt(r.Bytes(), at); err != nil {
			return &verbError{"write " + utmp, cause(err)}
		}
		return nil
	}
}

// LogoutRecord is what wtmp gets of the end of a session on a line.
func LogoutRecord(line string, now time.Time) Record {
	return Record{Type: deadProcess, Line: line, Time: now}
}

// BootRecord is what utmp and wtmp get of a boot.
func BootRecord(now time.Time) Record {
	return Record{Type: bootTime, Line: "~", ID: "~~", User: "reboot", Host: release(), Time: now}
}

// ShutdownRecord is what wtmp gets of the end of the system.
func ShutdownRecord(now time.Time) Record {
	return Record{Type: runLevel, Line: "~~", ID: "~~", User: "shutdown", Host: release(), Time: now}
}

// release is the kernel's.
func release() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

// AppendRecord adds r to the file wtmp. A file that is not there is not made:
// so one turns the records off.
func AppendRecord(wtmp string, r Record) error {
	f, err := openLocked(wtmp, unix.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return &verbError{"seek " + wtmp, cause(err)}
	}
	if _, err := f.Write(r.Bytes()); err != nil {
		f.Truncate(end) // half a record would put all that follow out of step
		return &verbError{"write " + wtmp, cause(err)}
	}
	return nil
}

// PutBoot sets the record of the boot in the file utmp, which has one.
func PutBoot(utmp string, r Record) error {
	f, err := openLocked(utmp, unix.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, RecordSize)
	for at := int64(0); ; at += int64(RecordSize) {
		_, err := f.ReadAt(b, at)
		if err == nil {
			if old, err := ParseRecord(b); err != nil || old.Type != bootTime {
				continue
			}
		} else if !errors.Is(err, io.EOF) {
			return &verbError{"read " + utmp, cause(err)}
		}
		if _, err := f.WriteAt(r.Bytes(), at); err != nil {
			return &verbError{"write " + utmp, cause(err)}
		}
		return nil
	}
}

// Terminals are the lines that have a user, by the records in the file utmp.
func Terminals(utmp string) []string {
	var lines []string
	for _, r := range users(utmp) {
		lines = append(lines, r.Line)
	}
	return lines
}

// users are the records of those who are logged in.
func users(utmp string) []Record {
	text, err := os.ReadFile(utmp)
	if err != nil {
		return nil
	}
	var all []Record
	for ; len(text) >= RecordSize; text = text[RecordSize:] {
		if r, err := ParseRecord(text[:RecordSize]); err == nil && r.Type == userProcess && r.User != "" {
			all = append(all, r)
		}
	}
	return all
}

// openLocked opens a file of records and locks it against other writers.
func openLocked(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &verbError{"open " + path, cause(err)}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, &verbError{"lock " + path, err}
	}
	return f, nil
}

// cause is what is in an os.PathError, whose text names the path again.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
