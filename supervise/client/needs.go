package client

import (
	"path/filepath"

	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
)

// Need is a service that another needs, as its files show it.
type Need struct {
	Name  string
	Path  string
	Ready bool   // it is as those that need it wait for
	Why   string // why it is not
	Asks  bool   // it is not started unless somebody asks for it
}

// Needs are the services that the one at path needs, by its directory needs/: those
// beside it.
func Needs(path string) (all []Need) {
	r, err := Reach(path)
	if err != nil {
		return nil
	}
	defer r.Close()
	if has, err := r.has("needs"); err != nil || !has {
		return nil
	}
	list, _ := policy.Needs(r.fd)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	for _, entry := range list {
		n := Need{Name: entry.Name, Path: filepath.Dir(abs) + "/" + entry.Name}
		n.look()
		all = append(all, n)
	}
	return all
}

// look says how it is with a service that is needed.
func (n *Need) look() {
	n.Why = "is not supervised"
	r, err := Reach(n.Path)
	if err != nil {
		return
	}
	defer r.Close()
	rec, err := r.Probe()
	switch {
	case err != nil:
	case rec.State == state.Run && rec.Termed:
		n.Why = "is being stopped"
	case rec.State == state.Run && r.Readiness() == state.NotReady:
		n.Why = "is not ready"
	case rec.State == state.Run:
		n.Ready, n.Why = true, ""
	case r.GivenUp():
		n.Why, n.Asks = "was given up", true
	case rec.State == state.Down && rec.Want != state.WantUp:
		n.Why, n.Asks = "is down", true
	case r.Waits():
		n.Why = "waits itself"
	default:
		n.Why = "is not up yet"
	}
}

// Waits says whether the service is not started before what it needs is ready.
func (r *Remote) Waits() bool {
	p, ok, err := proc.Read(r.fd, "supervise/proc")
	return err == nil && ok && p.Word == state.ProcWaits
}
