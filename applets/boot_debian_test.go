package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBootDebian boots the Debian that .ci/boot has made, twice: to a login on the serial
// console with sshd and cron under supervision, and to a reboot; then to the level single,
// and to the power's end. RUNITBOX_DEBIAN names the directory of its kernel, initrd and disk.
func TestBootDebian(t *testing.T) {
	dir := os.Getenv("RUNITBOX_DEBIAN")
	if dir == "" {
		return // make test-boot
	}
	for _, tt := range []struct {
		name  string
		args  string
		steps string
	}{
		{"reboot", "", `
want - runit: leave stage: /etc/runit/1
want - stage 2: the level is default
want box login:
type root
want Password:
type secret
want root@box:~#
type for s in sshd cron; do until sv status $s | grep -q ^run; do sleep 1; done; sv status $s | sed 's/: (pid.*//; s/^/seen /'; done
want seen run: sshd
want seen run: cron
type until exec 3<>/dev/tcp/127.0.0.1/22; do sleep 1; done; read -r line <&3; exec 3<&-; echo "it says $line"
want it says SSH-2.0-OpenSSH
type findmnt -no OPTIONS / | sed 's/^/root is /'; swapon --show=NAME --noheadings | sed 's/^/swap is /'
want root is rw
want swap is /swap
type echo pid 1 is $(cat /proc/1/comm), records $(who -b | grep -c boot), devices $(pgrep -c udevd)
want pid 1 is runit, records 1, devices 1
type runsvchdir single
want to continue): 
type secret
want root@box:~#
type sv status /etc/sv/cron | sed 's/^/then /'
want then fail: /etc/sv/cron: 
type reboot
want - runit: enter stage: /etc/runit/3
want - runit: leave stage: /etc/runit/3
want - runit: system reboot.
ends restarts`},
		{"single", "single", `
want - runit: leave stage: /etc/runit/1
want - stage 2: the level is single (it was asked for)
want to continue): 
type secret
want root@box:~#
type echo there is $(ls /run/runit/runsvdir/current/)
want there is sulogin
type poweroff
want - runit: leave stage: /etc/runit/3
want - runit: power off...
ends off`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recipe{name: "Debian " + tt.name, never: []string{"child failed", "not found", "is busy"}}
			for line := range strings.Lines(strings.TrimSpace(tt.steps)) {
				verb, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				r.steps = append(r.steps, bootStep{verb, text})
			}
			qemu := hypervisors[slices.IndexFunc(hypervisors, func(h *hypervisor) bool { return h.name == "qemu" })]
			if err := qemu.files(); err != nil {
				t.Fatal(err)
			}
			here := t.TempDir()
			args := append([]string{"root=/dev/vda", "ro", "quiet", "no_timer_check"}, strings.Fields(tt.args)...)
			cmd := qemuCommand(here, filepath.Join(dir, "initrd"), args)
			cmd.Args[slices.Index(cmd.Args, "-kernel")+1] = filepath.Join(dir, "vmlinuz")
			cmd.Args = append(cmd.Args, "-drive", "if=virtio,format=raw,file="+filepath.Join(dir, "disk"))
			g := &guest{t: t, name: r.name, on: qemu, cmd: exec.Command(cmd.Path, cmd.Args[1:]...)}
			g.cmd.Env = cmd.Env
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer out.Close()
			g.cmd.Stdin, g.keys = in, out
			g.run()
			g.follow(r)
		})
	}
}
