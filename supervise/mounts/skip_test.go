package mounts

import "runitbox/testdata/aloud"

var skip = aloud.Skip
