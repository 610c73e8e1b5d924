//go:build slim

package core

import "errors"

// openGroup says that a small build makes no cgroups.
func (c *Core) openGroup(*unit, int, bool) (int, error) {
	return -1, errors.New("this build (SLIM=1) knows nothing of ./cgroup")
}

func (u *unit) dropGroup() {}

func (u *unit) groupMembers() []int { return nil }

func (u *unit) killedInGroup() (killed, known bool) { return false, false }
