package setup

import _ "embed"

// The collection of service directories, what starts a tree, what is for users, and the recipes.
var (
	//go:embed services.txt
	servicesText string
	//go:embed boot.txt
	bootText string
	//go:embed stages.txt
	stagesText string
	//go:embed user.txt
	userText string
	//go:embed recipes.txt
	recipesText string
)
