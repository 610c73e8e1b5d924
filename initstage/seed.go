package initstage

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// SeedDir is where the kernel's random numbers of one boot are kept for the next.
const SeedDir = "/var/lib/seedrng"

// The files of a seed tell by their names whether the kernel may count on it: it
// may not where it had none when the seed was drawn.
const (
	creditName   = "seed.credit"
	noCreditName = "seed.no-credit"
)

// Pool is a generator of random numbers.
type Pool struct {
	Add  func(seed []byte, credit bool) error             // gives it a seed, which it may count on or not
	Draw func(size int) (seed []byte, good bool, e error) // takes one, which is good if it is ready
}

// KernelPool is that of the kernel.
var KernelPool = Pool{addEntropy, drawEntropy}

// Reseed gives the pool the seed that dir holds and puts another in its place. A
// seed is used once: it is removed, for good, before the pool gets it. Where
// credit is false nothing counts.
func Reseed(dir string, size int, credit bool, pool Pool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil { // who comes second takes another seed
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	var used []byte
	var failed error
	for _, name := range []string{noCreditName, creditName} {
		seed, err := takeSeed(d, name)
		if err == nil && len(seed) > 0 {
			err = pool.Add(seed, credit && name == creditName)
			used = append(used, seed...)
		}
		failed = cmp.Or(failed, err) // the first is told
	}
	next, good, err := pool.Draw(size)
	if err != nil {
		return cmp.Or(failed, err)
	}
	if !good { // what the pool was given before counts, if anything does
		for i := range next {
			if len(used) > 0 {
				next[i] ^= used[i%len(used)]
			}
		}
	}
	return cmp.Or(failed, putSeed(d, next, good))
}

// takeSeed reads a file and removes it, on the disk too. None is no seed.
func takeSeed(dir *os.File, name string) ([]byte, error) {
	path := filepath.Join(dir.Name(), name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seed, err := io.ReadAll(io.LimitReader(f, maxSeed))
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return nil, err
	}
	return seed, nil
}

// putSeed writes a seed as one that does not count, and lets it count when it is
// on the disk.
func putSeed(dir *os.File, seed []byte, good bool) error {
	path := filepath.Join(dir.Name(), noCreditName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(seed)
	err = cmp.Or(err, f.Sync(), f.Close())
	if err == nil && good {
		err = os.Rename(path, filepath.Join(dir.Name(), creditName))
	}
	return cmp.Or(err, dir.Sync())
}

// The sizes that a seed may have, in bytes.
const (
	minSeed = 32
	maxSeed = 512
)

// SeedSize is how many bytes a seed of the kernel's should have.
func SeedSize() int {
	text, _ := os.ReadFile("/proc/sys/kernel/random/poolsize")
	bits, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return min(max(bits/8, minSeed), maxSeed)
}

// addEntropy gives a seed to the kernel.
func addEntropy(seed []byte, credit bool) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var call struct { // struct rand_pool_info
		bits, size int32
		seed       [maxSeed]byte
	}
	call.size = int32(copy(call.seed[:], seed))
	if credit {
		call.bits = 8 * call.size
	}
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&call))); no != 0 {
		return fmt.Errorf("add to the kernel's random numbers: %w", no)
	}
	return nil
}

// drawEntropy takes a seed from the kernel, which may have none yet: then it is
// what there is.
func drawEntropy(size int) (seed []byte, good bool, err error) {
	seed = make([]byte, size)
	for _, flags := range []int{unix.GRND_NONBLOCK, unix.GRND_INSECURE} {
		n, err := unix.Getrandom(seed, flags)
		if err == nil && n == size {
			return seed, flags == unix.GRND_NONBLOCK, nil
		}
	}
	f, err := os.Open("/dev/urandom") // an old kernel
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	_, err = io.ReadFull(f, seed)
	return seed, false, err
}
