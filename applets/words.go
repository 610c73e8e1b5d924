package applets

import "runitbox/applets/loaders"

// words tells an error as runit would.
func words(err error) string { return loaders.Words(err) }
