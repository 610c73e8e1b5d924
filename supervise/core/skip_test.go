package core

import "runitbox/internal/aloud"

var skip = aloud.Skip
