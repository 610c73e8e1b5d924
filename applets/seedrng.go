package applets

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"runitbox/fmt"
	"runitbox/initstage"
)

// newSeedrng carries the kernel's random numbers from one boot to the next: it is
// called when the system starts and when it ends.
func newSeedrng(argv0 string) *cobra.Command {
	var dir string
	var skip bool
	line := filepath.Base(argv0) + " [-n] [-d dir]"
	cmd := &cobra.Command{
		Use:   line,
		Short: "give the kernel the random seed that was kept, and keep another",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 || dir == "" {
				return misuse{line: line, status: 1}
			}
			skip = skip || slices.Contains([]string{"1", "true", "yes"}, os.Getenv("SEEDRNG_SKIP_CREDIT"))
			if err := initstage.Reseed(dir, initstage.SeedSize(), !skip, initstage.KernelPool); err != nil {
				return fatal{"seedrng", 1, fmt.Errorf("unable to %w", err)}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "seed-dir", "d", initstage.SeedDir, "where the seed is kept")
	cmd.Flags().BoolVarP(&skip, "skip-credit", "n", false, "the kernel is not to count on the seed")
	cmd.Flags().Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, line, 1)
	return cmd
}
