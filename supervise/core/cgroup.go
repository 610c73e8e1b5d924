//go:build !slim

package core

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
)

// A service with a directory cgroup/ gets a cgroup (v2) of its own below that of the tree.
// A cgroup that has processes itself cannot give controllers to those below it, but the
// first of all: so, where one is needed, what runs of the tree is moved into a cgroup
// beside those of the services.

// The names of these cgroups.
const (
	groupOfService = "sv-"
	groupOfRest    = "sv.rest"
)

// treeGroup is the directory of the tree's cgroup.
func treeGroup() (string, error) {
	dir := proc.GroupDir()
	if dir == "" {
		return "", errors.New("there is no cgroup v2 here")
	}
	return strings.TrimSuffix(dir, "/"+groupOfRest), nil
}

// openGroup makes the cgroup of a unit, where asked is true as cgroup/ of the directory dir
// says, and opens the file by which a process gets into it.
func (c *Core) openGroup(u *unit, dir int, asked bool) (fd int, err error) {
	var settings []policy.Setting
	if asked {
		if settings, err = policy.CGroup(dir); err != nil {
			return -1, err
		}
	}
	tree, err := treeGroup()
	if err != nil {
		return -1, err
	}
	group := tree + "/" + u.groupName()
	switch err := unix.Mkdir(group, 0o755); err {
	case nil:
		u.groupKills = 0
	case unix.EEXIST: // something that an earlier ./run has started is left in it
		n, _ := proc.OOMKills(group + "/memory.events")
		u.groupKills = int32(n)
	default:
		return -1, fmt.Errorf("unable to make %s: %w", group, err)
	}
	for _, s := range settings {
		if err := c.giveController(tree, s.Name); err != nil {
			return -1, err
		}
		for _, line := range s.Lines {
			if err := writeGroup(group+"/"+s.Name, line); err != nil {
				return -1, fmt.Errorf("unable to write %s, as cgroup/%s says: %w", group+"/"+s.Name, s.Name, err)
			}
		}
	}
	if fd, err = sys.Open(unix.AT_FDCWD, group+"/cgroup.procs", unix.O_WRONLY, 0); err != nil {
		return -1, fmt.Errorf("unable to open %s/cgroup.procs: %w", group, err)
	}
	return fd, nil
}

// giveController has the cgroups below the tree's have the controller that a file is of.
func (c *Core) giveController(tree, file string) error {
	controller, _, _ := strings.Cut(file, ".")
	if controller == "cgroup" || strings.HasSuffix(file, ".pressure") {
		return nil
	}
	c.groups.Lock() // the kernel says that it is given before the files are there
	defer c.groups.Unlock()
	control := tree + "/cgroup.subtree_control"
	given, err := sys.Slurp(unix.AT_FDCWD, control, 4096)
	if err == nil && strings.Contains(" "+strings.TrimSpace(string(given))+" ", " "+controller+" ") {
		return nil
	}
	if err == nil {
		err = unix.EBUSY
	}
	for tries := 0; err == unix.EBUSY && tries < groupTries; tries++ {
		if tries > 0 && c.moveRest(tree) {
			return fmt.Errorf("cgroup/%s: processes that are not of the tree are in %s", file, tree)
		}
		err = writeGroup(control, "+"+controller)
	}
	if err == unix.ENOENT || err == unix.EINVAL {
		return fmt.Errorf("cgroup/%s: the controller %s is not to be had in %s", file, controller, tree)
	}
	if err != nil {
		return fmt.Errorf("cgroup/%s: unable to write +%s into %s: %w", file, controller, control, err)
	}
	return nil
}

// groupTries is how often what runs of the tree is moved: a process that was being made was
// in no list.
const groupTries = 20

// moveRest moves those processes of the tree that are in its cgroup itself, and says whether
// others are there, too.
func (c *Core) moveRest(tree string) (others bool) {
	rest := tree + "/" + groupOfRest
	unix.Mkdir(rest, 0o755)
	list, _ := os.ReadFile(tree + "/cgroup.procs")
	for field := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.Atoi(field)
		switch {
		case err != nil:
		case c.hasBelow(pid):
			writeGroup(rest+"/cgroup.procs", field)
		case unix.Kill(pid, 0) != unix.ESRCH:
			others = true
		}
	}
	return others
}

// hasBelow says whether a process is the scanner, this one, or below one of them.
func (c *Core) hasBelow(pid int) bool {
	for range 1000 {
		if pid == c.whose || pid == unix.Getpid() {
			return true
		}
		st, ok, err := proc.StatOf(pid)
		if pid <= 1 || !ok || err != nil {
			return false
		}
		pid = st.PPID
	}
	return false
}

// groupName is the name of the unit's cgroup. That of one which only finds what ./run leaves
// behind is like no other's: what is in it is ended.
func (u *unit) groupName() string {
	name := groupOfService + u.svc.name
	switch {
	case u != &u.svc.main:
		return name + ".log"
	case !u.grouped:
		return name + "." + strconv.FormatUint(uint64(u.svc.placeDir), 16)
	}
	return name
}

// dropGroup removes the cgroup of what has ended, unless something is left in it.
func (u *unit) dropGroup() {
	if !u.grouped && !u.endsStrays() {
		return
	}
	if tree, err := treeGroup(); err == nil {
		unix.Rmdir(tree + "/" + u.groupName())
	}
}

// groupMembers are the processes in the cgroup of a unit.
func (u *unit) groupMembers() (pids []int) {
	tree, err := treeGroup()
	if err != nil {
		return nil
	}
	list, _ := os.ReadFile(tree + "/" + u.groupName() + "/cgroup.procs")
	for field := range strings.FieldsSeq(string(list)) {
		if pid, _ := strconv.Atoi(field); pid > 1 { // 0 is one of another pid namespace
			pids = append(pids, pid)
		}
	}
	return pids
}

// killedInGroup says whether the kernel has killed something of what runs of the unit, for
// lack of memory; it is not known where the unit has no cgroup that counts that.
func (u *unit) killedInGroup() (killed, known bool) {
	if !u.grouped {
		return false, false
	}
	tree, err := treeGroup()
	if err != nil {
		return false, false
	}
	n, known := proc.OOMKills(tree + "/" + u.groupName() + "/memory.events")
	return n > int(u.groupKills), known
}

// writeGroup writes a line into a file of a cgroup.
func writeGroup(file, line string) error {
	fd, err := sys.Open(unix.AT_FDCWD, file, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(line))
	return err
}
