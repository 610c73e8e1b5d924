package core

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/policy"
)

// grantAccess lets those who the service names use it: see its status, give it commands. It
// goes for its log service too. What was granted in this way and is not any more is taken
// back; where nothing ever was, nothing is touched: somebody may have chosen the modes.
func (s *service) grantAccess(u *unit) {
	var all []policy.Grant
	if p := s.main.policy; p != nil {
		all = append(all, p.Access...)
	}
	if p := u.policy; p != nil && u != &s.main {
		all = append(all, p.Access...)
	}
	if len(all) == 0 && !u.granted {
		return
	}
	u.granted = len(all) > 0
	for _, f := range [...]struct {
		name      string
		own, more uint32 // the rights of the owner, and of those who are named
	}{{"", 7, 5}, {"/ok", 6, 6}, {"/control", 6, 6}} {
		name := u.prefix + "supervise" + f.name
		if err := s.grant(name, all, f.own, f.more); err != nil {
			s.warn(fmt.Errorf("unable to let those in ./user/access use ./%s: %w", name, err))
			return
		}
	}
}

// grant gives the rights to a file, by its list of rights, or where there are no such
// lists by its owner, group and mode, as far as these can tell it.
func (s *service) grant(name string, all []policy.Grant, own, more uint32) error {
	st, err := s.dir.Stat(name)
	if err != nil {
		return err
	}
	const list = "system.posix_acl_access"
	path := "/proc/self/fd/" + strconv.Itoa(s.dir.At(name)) + "/" + name
	if len(all) == 0 {
		unix.Removexattr(path, list)
		unix.Fchownat(s.dir.At(name), name, -1, unix.Getegid(), 0)
		return unix.Fchmodat(s.dir.At(name), name, own<<6|st.Mode&0o001, 0)
	}
	if err = unix.Setxattr(path, list, rights(all, own, more, st.Mode&7), 0); err == nil {
		return nil
	}
	user, group, mode := -1, -1, own<<6|st.Mode&0o001
	for _, g := range all {
		switch {
		case g.Group && group < 0:
			group, mode = g.ID, mode|more<<3
		case !g.Group && user < 0 && own == 7: // a directory stays its supervisor's
			user, mode = -2, mode|more
		case !g.Group && user == -1:
			user = g.ID
		default:
			return err
		}
	}
	if err := unix.Fchownat(s.dir.At(name), name, max(user, -1), group, 0); err != nil {
		return err
	}
	return unix.Fchmodat(s.dir.At(name), name, mode, 0)
}

// rights is a list of rights as the kernel takes it (struct posix_acl_xattr_header and its
// entries): of the owner, those who are named, nobody in the owner's group, and others.
func rights(all []policy.Grant, own, more, others uint32) []byte {
	const (
		version                                           = 2
		owner, user, ownGroup, group, mask, other, nobody = 1, 2, 4, 8, 16, 32, ^uint32(0)
	)
	b := binary.LittleEndian.AppendUint32(nil, version)
	add := func(tag uint16, perm, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(perm))
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	add(owner, own, nobody)
	for _, g := range all {
		if !g.Group {
			add(user, more, uint32(g.ID))
		}
	}
	add(ownGroup, 0, nobody)
	for _, g := range all {
		if g.Group {
			add(group, more, uint32(g.ID))
		}
	}
	add(mask, more, nobody)
	add(other, others, nobody)
	return b
}
