//go:build bench

package applets

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestBenchInit prints what process 1 takes at rest, beside Debian's runit.
func TestBenchInit(t *testing.T) {
	init, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rest.txt")
	recipe := "container\n-- etc/runit/1 --\n#!/bin/sh\n-- etc/runit/2 --\n#!/bin/sh\necho at rest\nexec sleep 1000\n-- etc/runit/3 --\n#!/bin/sh\n"
	if err := os.WriteFile(file, []byte(recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nprocess 1 at rest     anonymous  file-backed  page tables  threads\n")
	for range 2 { // alternating
		for _, who := range []string{"runitbox", "runit 2.1.2"} {
			r := readRecipe(t, file, init)
			if who != "runitbox" {
				r.copyWithLibraries(t, peer(t, "runit"), "sbin/runit")
			}
			g := bootContainer(t, r, who)
			g.wait("at rest")
			time.Sleep(time.Second) // it shall be at rest
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			field := func(name string) int {
				m := regexp.MustCompile(`(?m)^` + name + `:\s*(\d+)`).FindSubmatch(status)
				if m == nil {
					t.Fatalf("no %s in\n%s", name, status)
				}
				n, _ := strconv.Atoi(string(m[1]))
				return n
			}
			fmt.Printf("%-20s %7d KiB  %7d KiB  %7d KiB  %7d\n", who, field("RssAnon"), field("RssFile"), field("VmPTE"), field("Threads"))
			g.cmd.Process.Kill()
		}
	}
}

// TestBenchImage prints the size of a system that is this file and two services.
func TestBenchImage(t *testing.T) {
	init, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := readRecipe(t, "../testdata/boot/builtin.txt", init)
	var raw bytes.Buffer
	if err := r.writeImage(&raw); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(init)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nsize in KiB                the file   the initramfs\n")
	file, err := os.ReadFile(init)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("raw                        %8d   %8d\n", info.Size()/1024, raw.Len()/1024)
	fmt.Printf("gzip -9                    %8d   %8d\n", gzipped(t, file)/1024, gzipped(t, raw.Bytes())/1024)
	if _, err := exec.LookPath("xz"); err != nil {
		fmt.Println("xz: not on this machine")
		return
	}
	fmt.Printf("xz -9 --check=crc32        %8d   %8d\n", xzed(t, file)/1024, xzed(t, raw.Bytes())/1024)
}

func gzipped(t *testing.T, data []byte) int {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

func xzed(t *testing.T, data []byte) int {
	t.Helper()
	cmd := exec.Command("xz", "-9", "--check=crc32")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return len(out)
}
