package core

import "runitbox/testdata/aloud"

var skip = aloud.Skip
