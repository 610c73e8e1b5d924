//go:build !slim

package applets

import "runitbox/applets/setup"

// newSetupCommand is runitbox setup: what the slim executable lacks is named here alone,
// so that nothing of it is linked there.
var newSetupCommand = newSetup

// collection are the service directories that setup writes.
func collection() (all []candidate) {
	for _, s := range setup.Services() {
		all = append(all, candidate{s.Name, s.About})
	}
	return all
}

// verbs are the commands of sv that runit's has not. They count only when they are
// written whole: by its first letter a word is what it is for runit.
var verbs = [...]verb{
	{"list", newSvList},
	{"log", newSvLog},
	{"why", newSvWhy},
	{"watch", newSvWatch},
	{"chart", newSvChart},
	{"metrics", newSvMetrics},
	{"lint", newSvLint},
	{"enable", newSvEnable},
	{"disable", newSvDisable},
}
