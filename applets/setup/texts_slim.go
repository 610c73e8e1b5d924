//go:build slim

package setup

// Slim says that the executable was built without the files that it could write.
const Slim = true

const bootText, userText, recipesText = "", "", ""
