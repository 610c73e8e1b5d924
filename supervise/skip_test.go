package supervise

import "runitbox/internal/aloud"

var skip = aloud.Skip
