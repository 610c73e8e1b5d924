//go:build !slim

package setup

import _ "embed"

// Slim says that the executable was built without the files that it could write.
const Slim = false

// What starts a tree, what is for users, and the recipes.
var (
	//go:embed boot.txt
	bootText string
	//go:embed user.txt
	userText string
	//go:embed recipes.txt
	recipesText string
)
