# The version is what git says of this tree; a tarball builds as "devel", or as
# make VERSION=... says.
VERSION := $(shell test -e .git && git describe --tags --always --dirty 2>/dev/null || echo devel)
OUT     ?= build
# SVDIRS are where sv looks for bare names without SVDIR: the first that exists.
SVDIRS  ?= /service:/var/service:/etc/service
# GOLDFLAGS are more of these: -X runitbox/initstage.dirRunit=/etc/init, for one.
GOLDFLAGS ?=
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
# LINKS are options for the making of links, such as --no-init.
LINKS   ?=
PEERS   := runit busybox-static user-mode-linux s6 libs6-2.11 libskarnet2.13 libexecline2.9 daemontools qemu-user-static

.PHONY: build demo test bench bench-turns chaos install clean peers

# The entry writes down what Go's runtime changes at its start (procenv/entry.go);
# it is assembly, so not for every machine.
GOARCH ?= $(shell go env GOARCH 2>/dev/null)
ENTRY  := $(if $(filter amd64 arm64,$(GOARCH)),-E runitbox/procenv.entry)

# A tenth of a small executable is what the compiler writes twice for speed:
# not in packages that do their work once, if at all, and no gaps of 32 bytes.
SMALL := fmt path/filepath golang.org/x/sys/unix internal/sync reflect regexp/syntax strings text/template time github.com/spf13/cobra runitbox/applets runitbox/applets/loaders

# The go command itself is not to ask git: it fails where somebody else owns the tree.
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false $(SMALL:%=-gcflags=%=-l) -ldflags '-s -w -funcalign=4 $(ENTRY) -X runitbox/applets/loaders.Version=$(VERSION) -X runitbox/applets.serviceDirs=$(SVDIRS) $(GOLDFLAGS)' -o '$(OUT)/runitbox' .

# test is all that a change must pass. What the tests need of others is fetched
# into build/peers, never installed; what cannot be had is skipped and counted.
# A result that go has kept would count no skips.
test: peers build
	test -z "$$(gofmt -l .)"
	go vet ./... && go mod tidy -diff
	rm -f build/skipped
	RUNITBOX_PEERS='$(CURDIR)/build/peers' RUNITBOX_SKIPPED='$(CURDIR)/build/skipped' go test -race -count 1 -timeout 40m ./...
	@if test -s build/skipped; then echo "skipped: $$(wc -l <build/skipped) tests"; cat build/skipped; fi

# install takes what has been built where there is no go, as root may have none.
# The executable is renamed into place: what runs may be called at any moment.
install: SBIN = $(DESTDIR)$(SBINDIR)
install:
	@if command -v go >/dev/null || ! test -x '$(OUT)/runitbox'; then $(MAKE) build; fi
	install -d '$(SBIN)'
	install -m 755 '$(OUT)/runitbox' '$(SBIN)/.runitbox.new'
	mv -f '$(SBIN)/.runitbox.new' '$(SBIN)/runitbox'
	'$(SBIN)/runitbox' install $(LINKS) '$(SBIN)'

clean:
	rm -rf build

# peers fetches Debian's packages of the programs that the tests compare with.
# Lists and packages stay below build: the machine's own apt is not touched.
APT := apt-get -qq -o APT::Sandbox::User=root -o Dir::State::lists='$(CURDIR)/build/apt/lists' -o Dir::Cache='$(CURDIR)/build/apt/cache'
peers: build/peers/.done
build/peers/.done:
	@mkdir -p build/peers build/apt/lists/partial build/apt/cache/archives/partial
	@if command -v apt-get dpkg >/dev/null && $(APT) update; then \
		cd build/apt && for p in $(PEERS); do \
			$(APT) download $$p && dpkg -x $${p}_*.deb ../peers || echo "peers: no package $$p here"; \
		done && touch ../peers/.done; \
	else echo "peers: apt-get is not usable here: tests that compare will be skipped"; fi

# bench prints ratios against the peers; it says which are missing.
bench: peers build
	RUNITBOX_PEERS='$(CURDIR)/build/peers' go test -tags bench -timeout 60m -count 1 -run '^TestBench' -v ./applets

# bench-turns compares this build with another in turns: BEFORE=PATH names that.
BEFORE ?=
bench-turns: build
	RUNITBOX_BEFORE='$(BEFORE)' go test -tags bench -timeout 60m -count 1 -run '^TestBenchTurns$$' -v ./applets

# demo shows the suite at work in a temporary directory and leaves nothing behind.
demo: build
	sh testdata/demo/demo.sh '$(OUT)/runitbox'

# chaos hurts a tree of services at random for a long time. SEED repeats a run,
# as far as time can be repeated.
EVENTS ?= 3000
SEED   ?=
chaos: build
	RUNITBOX_CHAOS=$(EVENTS) RUNITBOX_CHAOS_SEED=$(SEED) go test -timeout 6h -count 1 -run '^TestChaos$$' -v ./applets
