package manual

import "runitbox/internal/aloud"

var skip = aloud.Skip
