package setup

import (
	"slices"
	"strings"
)

// Recipe is an arrangement of services.
type Recipe struct {
	Name  string
	About string
	Files []File // below the root
}

// Recipes are all that there are.
func Recipes() []Recipe {
	all := []Recipe{
		{Name: "failover", About: "a level of services that follows an address of keepalived's"},
		{Name: "postgresql-replica", About: "a replica in memory of PostgreSQL"},
	}
	for _, f := range parse(text("recipes.txt")) {
		name, file, _ := strings.Cut(f.Path, "/")
		if strings.HasSuffix(file, "/log/run") {
			f.Text = logRun()
		}
		f.Path, f.Mode = file, scriptMode(f.Text)
		i := slices.IndexFunc(all, func(r Recipe) bool { return r.Name == name })
		all[i].Files = append(all[i].Files, f)
	}
	return all
}
