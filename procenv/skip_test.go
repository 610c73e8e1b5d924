package procenv

import "runitbox/internal/aloud"

var skip = aloud.Skip
