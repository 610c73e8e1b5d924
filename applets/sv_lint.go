package applets

import (
	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/survey"
	"runitbox/supervise/sys"
)

// newSvLint looks for mistakes in service directories.
func newSvLint(s *svCall) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sv lint [--json] [service ...]",
		Short: "look for mistakes in service directories, of the tree or those named",
		RunE: func(_ *cobra.Command, names []string) error {
			dir := svDir()
			lint := &survey.Lint{Tree: dir}
			all := len(names) == 0
			if all {
				entries, err := sys.ReadDir(dir)
				if err != nil {
					return fatal{s.name, 100, fmt.Errorf("unable to open the directory of services: %w", err)}
				}
				for _, entry := range entries {
					if name := entry.Name(); !survey.Hidden(name) { // those are left alone on purpose
						names = append(names, name)
					}
				}
			}
			for _, name := range names {
				path := svPath(name)
				if all {
					path = dir + "/" + name
				}
				found := lint.Service(name, path)
				for _, c := range found {
					s.lintLine(name, path, c)
				}
				if len(found) > 0 {
					s.failed++
				}
			}
			return s.code()
		},
	}
	cmd.Flags().BoolVar(&s.json, "json", s.json, "an object for each mistake, a line each")
	return cmd
}

// lintLine tells one mistake.
func (s *svCall) lintLine(name, path string, c survey.Cause) {
	if s.json {
		o := newObject().text("service", name).text("path", path).text("code", c.Code).text("text", c.Text)
		if c.Mend != "" {
			o.text("mend", c.Mend)
		}
		fmt.Fprintln(s.out, o.String())
		return
	}
	line := printable(name) + ": " + printable(c.Text)
	if c.Mend != "" {
		line += ": " + printable(c.Mend)
	}
	fmt.Fprintln(s.out, line)
}
