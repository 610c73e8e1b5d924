package logger

import (
	"cmp"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// A logger that is killed leaves in the input pipe what it has not finished: a
// batch of lines is copied, written to the files, and only then consumed. Of a
// kill between writing and consuming the journal tells the next logger, so that
// it does not write those lines again. It is the file .svlogd, mapped into
// memory: a store is in the page cache at once and outlives the process. It
// exists while the logger runs; an orderly end unlinks it.
//
//	killed              the next logger finds             and
//	before the flip     the batch before, consumed        writes all that is in the pipe
//	before a write      current of size0                  skips done bytes
//	inside of a write   between size0 and size1           truncates to size0, skips done
//	after a write       size1                             skips next bytes
//	in a rotation       another current, or none          skips done bytes
//	after consuming     the mark as wanted                skips nothing
//	while it recovers   the same, or current settled      the same again
//
// All that under the condition that the pipe is the same and begins with the
// bytes whose checksum the journal has. The mark makes the last row but one
// certain even if the same bytes come again: it is a byte of the mapping that
// had another value, and the kernel puts the batch's last byte there in the
// very system call that consumes the batch. With several log directories each
// has its journal and its mark; a batch with fewer bytes than there are
// directories is consumed if one of its marks says so.
//
// The begin of a line that has no end yet does not stay in the pipe: a writer
// that finds it full would wait beside it, and wake nobody. It is consumed like
// a batch and held behind the entries: held0 bytes of it are there before a
// batch is consumed, and held1 after that. What is held goes before the bytes
// of the pipe in every count of done bytes.

// journalName is hidden, and not an old log's name.
const journalName = ".svlogd"

// journalMagic begins the file. Another layout must get another number.
const journalMagic = 0x0001_64676f6c_7673

// entry is what the journal knows of a batch. Stores that the table above
// depends on are atomic, which keeps them in order.
type entry struct {
	boot         uint64  // of the system
	dev, ino     uint64  // of the pipe
	batch        uint64  // its number, the same in all directories, and of whoever begins at this place of the input again
	n            uint64  // bytes of input in it
	sum          uint64  // of the first and the last of those bytes
	prefix       uint64  // of the first of them
	current      uint64  // the inode that size0 and size1 are about
	size0, size1 uint64  // before and after the write under way; equal if none is
	done, next   uint64  // bytes of input that are in the files at size0 and at size1
	want         uint64  // the mark if the batch is consumed; no mark if above 255
	mark         [8]byte // the first one is it
	cont0, cont1 uint64  // whether a line continues at the begin and the end, see continuation
	held0, held1 uint64  // bytes of a line's begin that are held before and after the batch
}

// continuation says of a place in the input that it is inside of a line, and
// whether that line is selected.
type continuation uint64

const (
	atLine continuation = iota
	inUnselected
	inSelected
)

// page is the layout of the file's begin; what is held follows. active is 1 or
// 2, for the slot that counts.
type page struct {
	magic, active uint64
	slots         [2]entry
}

// pageSize is the size of a page on disk.
const pageSize = int(unsafe.Sizeof(page{}))

// journalSize is the size of a journal that can hold a line's head.
func journalSize(head int) int { return (pageSize + head + 4095) &^ 4095 }

// bytes is the page as it is on disk.
func (p *page) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), pageSize)
}

// entry is the one that counts, or nil.
func (p *page) entry() *entry {
	if active := atomic.LoadUint64(&p.active); p.magic == journalMagic && (active == 1 || active == 2) {
		return &p.slots[active-1]
	}
	return nil
}

// blank is what a journal is made of: room on the disk. Nobody writes to it, so that it
// takes no memory.
var blank [4096]byte

// journal is the mapping of one log directory's journal.
type journal struct {
	*page
	data []byte
}

// castagnoli is the checksum that processors have an instruction for.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// checksum is to tell one batch at a pipe's begin from another: of a long one
// both ends are enough for that.
func checksum(b []byte) uint64 {
	const part = 4 << 10
	if len(b) <= 2*part {
		return uint64(crc32.Checksum(b, castagnoli()))
	}
	sum := crc32.Checksum(b[:part], castagnoli())
	return uint64(crc32.Update(sum, castagnoli(), b[len(b)-part:]))
}

// prefixSize is how many bytes prefix is about, at most.
const prefixSize = 256

// prefixSum is for a pipe of which no more can be looked at: one user's pipes
// hold little when they are many.
func prefixSum(b []byte) uint64 {
	return uint64(crc32.Checksum(b[:min(len(b), prefixSize)], castagnoli()))
}

// begins says whether a pipe that holds so many bytes, of which there are the
// first, begins with the batch.
func (e *entry) begins(there []byte, holds int) bool {
	switch n := uint64(len(there)); {
	case e.n <= n:
		return checksum(there[:e.n]) == e.sum
	case e.n <= uint64(holds) && n >= prefixSize:
		return prefixSum(there) == e.prefix
	}
	return false
}

// bootID tells this run of the system from others: numbers of pipes come again.
// Without /proc that is the instant of the boot, in hundredths of a second: if
// the clock is set between a kill and the next start the journal counts for
// nothing, and a batch may be doubled.
func bootID() (uint64, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	switch {
	case passing(err):
		return 0, err
	case err != nil:
		return bootInstant(), nil
	}
	h := fnv.New64a()
	h.Write(text)
	return h.Sum64(), nil
}

func bootInstant() uint64 {
	var since unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &since)
	return uint64((time.Now().UnixNano() - since.Nano()) / 1e7)
}

// openJournal opens the journal of dir, with what the last logger left in it.
// All bytes are written, since a store into a page that has no place on the
// disk would be a bus error.
func openJournal(dir, size int) (*journal, error) {
	fd, err := unix.Openat(dir, journalName, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", journalName, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", journalName, err)
	}
	var p page
	n, err := unix.Pread(fd, p.bytes(), 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", journalName, err)
	}
	from := int(st.Size)
	if n < pageSize || p.magic != journalMagic {
		p, from = page{magic: journalMagic}, 0
	}
	put := func(b []byte, at int) error {
		n, err := unix.Pwrite(fd, b, int64(at))
		if err == nil && n == len(b) {
			return nil
		}
		if from == 0 {
			unix.Unlinkat(dir, journalName, 0) // it tells nothing
		}
		return fmt.Errorf("write %s: %w", journalName, cmp.Or(err, error(unix.ENOSPC)))
	}
	for at := from; at < size; at += len(blank) {
		if err := put(blank[:min(size-at, len(blank))], at); err != nil {
			return nil, err
		}
	}
	if from == 0 {
		if err := put(p.bytes(), 0); err != nil {
			return nil, err
		}
	}
	data, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", journalName, err)
	}
	return &journal{(*page)(unsafe.Pointer(unsafe.SliceData(data))), data}, nil
}

// close gives the mapping back; the file stays.
func (j *journal) close() { unix.Munmap(j.data) }

// begin puts a batch down, of which the first e.done bytes are in the files
// already, and what is held before or after it. It counts from one instant to
// the next: the bytes that were held already stay as they are.
func (j *journal) begin(e entry, held []byte) {
	copy(j.data[pageSize:], held)
	next := uint64(1)
	if atomic.LoadUint64(&j.active) == 1 {
		next = 2
	}
	e.mark[0] = ^byte(e.want)
	j.slots[next-1] = e
	atomic.StoreUint64(&j.active, next)
}

// writing says that current is about to grow from size0 to size1, and that
// then next bytes of the batch are done.
func (j *journal) writing(size1, next uint64) {
	if e := j.entry(); e != nil {
		atomic.StoreUint64(&e.next, next)
		atomic.StoreUint64(&e.size1, size1)
	}
}

// wrote says that the write is done.
func (j *journal) wrote() {
	if e := j.entry(); e != nil {
		atomic.StoreUint64(&e.done, e.next)
		atomic.StoreUint64(&e.size0, e.size1)
	}
}

// settle says that done bytes are in the files and that current, whatever file
// that is, has nothing to do with it.
func (j *journal) settle(done uint64) {
	if e := j.entry(); e != nil {
		atomic.StoreUint64(&e.done, done)
		atomic.StoreUint64(&e.current, 0)
		atomic.StoreUint64(&e.size0, e.size1)
	}
}

// onto says that current is another file now, with size bytes.
func (j *journal) onto(current, size uint64) {
	if e := j.entry(); e != nil {
		atomic.StoreUint64(&e.current, 0)
		atomic.StoreUint64(&e.size0, size)
		atomic.StoreUint64(&e.size1, size)
		atomic.StoreUint64(&e.current, current)
	}
}

// ends says whether the batch ends inside of a line.
func (j *journal) ends(cont continuation) {
	if e := j.entry(); e != nil {
		e.cont1 = uint64(cont)
	}
}

// guard runs stores into the mapping. Where the file system has no room for a
// page that it had promised, or somebody has truncated the file, they fault;
// then the journal is given up and the log goes on without.
func (l *log) guard(stores func(*journal)) {
	if l.journal == nil {
		return
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			l.journal.close()
			l.journal = nil
		}
	}()
	if l.e.host.shared.Load() { // a page that hangs is waited for in a system call, where others go on
		unix.Madvise(l.journal.data, unix.MADV_POPULATE_WRITE)
	}
	stores(l.journal)
}

// leftover is what another logger left in a journal, and maybe still writes.
type leftover struct {
	entry
	held     []byte // the longer of what is held before and after the batch
	gone     bool   // the batch was consumed
	ours     bool   // it is about our input
	believed bool   // that begins where it says
}

// now is what is held of the line that the input goes on with, or would have
// gone on with, but for what is in the files.
func (l *leftover) now() []byte {
	switch {
	case l.believed && l.gone:
		return l.held[:l.held1]
	case l.believed:
		return l.held[:l.held0]
	case l.gone:
		return l.held[min(l.done, l.held1):l.held1]
	case l.size1 != l.size0:
		return nil
	}
	return l.held[min(l.done, l.held0):l.held0]
}

// readJournal reads the journal in dir; it is nil if there is none.
func readJournal(dir int) (*leftover, error) {
	fd, err := unix.Openat(dir, journalName, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", journalName, err)
	}
	defer unix.Close(fd)
	var p page
	n, err := unix.Pread(fd, p.bytes(), 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", journalName, err)
	}
	if n < pageSize || p.entry() == nil {
		return nil, nil
	}
	left := &leftover{entry: *p.entry()}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", journalName, err)
	}
	size := max(left.held0, left.held1)
	if size > uint64(st.Size) {
		return nil, nil
	}
	left.held = make([]byte, size)
	n, err = unix.Pread(fd, left.held, int64(pageSize))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", journalName, err)
	}
	if n < len(left.held) {
		return nil, nil
	}
	return left, nil
}

// consumed says that the mark is as wanted.
func (e *entry) consumed() bool { return e.want <= 0xff && uint64(e.mark[0]) == e.want }
