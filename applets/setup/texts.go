//go:build !packed

package setup

import "embed"

// texts are the collection of service directories, what starts a tree, the stages, what is
// for users, and the recipes.
//
//go:embed *.txt
var texts embed.FS

// text is one of them.
func text(name string) string {
	b, _ := texts.ReadFile(name)
	return string(b)
}
