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
# DATADIR is where manual pages and completion go. Debian's zsh looks for what packages
# bring in a directory of its own.
DATADIR ?= $(PREFIX)/share
MANDIR  ?= $(DATADIR)/man
BASHDIR ?= $(DATADIR)/bash-completion/completions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d
ZSHDIR  ?= $(DATADIR)/zsh/$(if $(filter /usr,$(PREFIX)),$(if $(wildcard /etc/debian_version),vendor-completions,site-functions),site-functions)
# LINKS are options for the making of links, such as --no-init.
LINKS   ?=
PEERS   := runit busybox-static user-mode-linux s6 libs6-2.11 libskarnet2.13 libexecline2.9 daemontools qemu-user-static shellcheck

.PHONY: build demo test check test-fresh test-services test-boot race mutants bench bench-turns chaos test-logger install clean peers

# The entry has a svlogd ask for a host (supervise/loghost/early.go), but for SLIM=1, and writes
# down what Go's runtime changes at its start (procenv/entry.go); it is assembly, so not for
# every machine.
GOARCH ?= $(shell go env GOARCH 2>/dev/null)
ENTRY  = $(if $(filter amd64 arm64,$(GOARCH)),-E runitbox/$(if $(SLIM),procenv,supervise/loghost).entry)

# KEEP has the entry leave blocked what an upgrade has blocked (procenv/entry_*.s). For that it
# changes a table of the runtime's, which the linker is told to allow. A Go without that table
# does without, and so does a machine without the entry.
KEEP := $(if $(filter amd64 arm64,$(GOARCH)),$(shell grep -s '^var sigtable = ' "$$(go env GOROOT 2>/dev/null)/src/runtime/sigtab_linux_generic.go"))

# A tenth of a small executable is what the compiler writes twice for speed:
# not in packages that do their work once, if at all, and no gaps of 32 bytes.
SMALL := fmt path/filepath golang.org/x/sys/unix internal/sync reflect regexp/syntax strings text/template time github.com/spf13/cobra runitbox/applets runitbox/applets/loaders runitbox/applets/quick runitbox/supervise/client runitbox/supervise/survey runitbox/applets/setup runitbox/applets/logrun runitbox/applets/syslog runitbox/applets/manual runitbox/applets/packed runitbox/supervise/child runitbox/supervise/core runitbox/supervise/scanner runitbox/supervise/self runitbox/initstage runitbox/logger/reader internal/stringslite os strconv sync syscall regexp runitbox/supervise/policy runitbox/supervise/statedir runitbox/supervise/notice runitbox/supervise/loghost runitbox/supervise/mounts

# The names of generic functions, which have all of a type's fields in them, are cut. What is
# ranged over are functions that end when they are told to: nothing checks each loop for that.
# A slice whose length is known at run time is on the heap, also where it would be short enough
# for the stack: both ways are 16 KB of code, and nothing that is called for each line has one.
DEBUGS := -d=maxshapelen=40,rangefunccheck=0,variablemakethreshold=0
DEBUGS := $(shell go tool compile $(DEBUGS) -V >/dev/null 2>&1 && echo '$(DEBUGS)')

# Where the kernel makes pages huge of itself (transparent_hugepage/enabled is always)
# Go's heap, of which there are some hundred KiB, would take 2 to 4 MB in each process:
# disablethp is a setting of the runtime's, and of nobody's who is started from here.
# go.mod cannot name it, and what stands there for the runtime is replaced by this.
GODEBUGS := containermaxprocs=0,updatemaxprocs=0,disablethp=1,profstackdepth=0

# The collector of Go 1.25 and before: that of 1.26 is for heaps of many megabytes, and is
# 50 KB more. A Go that has no other takes its own.
GOEXPERIMENT ?= $(shell GOEXPERIMENT=nogreenteagc go version >/dev/null 2>&1 && echo nogreenteagc)

# SLIM=1 leaves out the manual pages, runitbox setup and sv's verbs beside runit's (the tag
# slim), and takes for cobra what stands in applets/slim/cobra. LEAN=1 does only the latter.
SLIM ?=
LEAN ?= $(SLIM)
SLIMMED = -tags $(if $(SLIM),slim,packed) $(if $(LEAN),'-modfile=$(OUT)/slim.mod')

# The texts that ship inside are packed in one (applets/packed), in OUT: nothing of a build
# is in the tree. Go takes it for the file that the tag packed names.
TEXTS  = applets/manual/*.8 applets/setup/*.txt
STREAM = applets/packed/stream.z
PACK   = GOOS= GOARCH= GOARM= go run ./applets/packed/pack '$(OUT)/stream.z' $(TEXTS)

# Packages of Go's of which nothing or little is used here and that are large all the same, for
# what they do at each start: applets/slim/std has what those who import them need. What Go's
# own packages need of some may be more in another version of Go, which takes them as they are.
LARGE = text/template net flag $(if $(filter go1.26%,$(shell go env GOVERSION 2>/dev/null)),fmt internal/godebug internal/runtime/cgroup)
SMALLER = {{$$dir := .Dir}}{{range .GoFiles}}, "{{$$dir}}/{{.}}": ""{{end}}{{range .SFiles}}, "{{$$dir}}/{{.}}": ""{{end}}, \
	"{{$$dir}}/small.go": "applets/slim/std/{{.Name}}/{{.Name}}.go"

# In a trace the functions of Go's own packages have no lines, "go:1 +0x2d5": to tell the line of
# each instruction of theirs is 4 % of the executable. What the instructions are is the same.
# With ONELINE= it has the lines.
ONELINE ?= 1
LINES   = {{if .Standard}}{{$$dir := .Dir}}{{range .GoFiles}}{{$$dir}}/{{.}}{{"\n"}}{{end}}{{end}}

# OVERLAY says which files Go takes in place of others: what it is told last about one counts.
LIST    = CGO_ENABLED=0 GOEXPERIMENT='$(GOEXPERIMENT)' go list $(SLIMMED)
OVERLAY = { printf '{"Replace": {"%s": "%s"' '$(STREAM)' '$(if $(SLIM),,$(OUT)/stream.z)'; \
	$(if $(ONELINE),$(LIST) -e -deps -f '$(LINES)' . | GOOS= GOARCH= GOARM= go run ./applets/slim/oneline '$(OUT)/oneline' &&) \
	$(LIST) -f '$(SMALLER)' $(LARGE) && echo '}}'; } >'$(OUT)/overlay.json'

# The go command itself is not to ask git: it fails where somebody else owns the tree.
build:
	$(if $(LEAN),@mkdir -p '$(OUT)' && cp go.sum '$(OUT)/slim.sum' && { cat go.mod; echo 'replace github.com/spf13/cobra => ./applets/slim/cobra'; } >'$(OUT)/slim.mod')
	@mkdir -p '$(OUT)' && $(if $(SLIM),,$(PACK) &&) $(OVERLAY)
	CGO_ENABLED=0 GOEXPERIMENT='$(GOEXPERIMENT)' go build $(SLIMMED) '-overlay=$(OUT)/overlay.json' -trimpath -buildvcs=false $(if $(DEBUGS),-gcflags=all=$(DEBUGS)) $(SMALL:%=-gcflags=%='-l $(DEBUGS)') $(if $(KEEP),-asmflags=runitbox/procenv=-D=KEEP_BLOCKED -asmflags=runitbox/supervise/loghost=-D=KEEP_BLOCKED) -ldflags '-s -w $(if $(KEEP),-checklinkname=0) -funcalign=$(if $(filter amd64,$(GOARCH)),1,4) $(ENTRY) -X runtime.godebugDefault=$(GODEBUGS) -X runitbox/applets/loaders.Version=$(VERSION) -X runitbox/applets/quick.Dirs=$(SVDIRS) $(GOLDFLAGS)' -o '$(OUT)/runitbox' .

# test is all that a change must pass. What the tests need of others is fetched
# into build, never installed; what cannot be had is skipped and counted.
# A result that go has kept would count no skips. go vet and staticcheck look at all beside
# the tests, and what they say is told at the end. A test that failed beside the others is
# tried once more, alone (testdata/again.awk), and both are told.
# At last come the processes of machines that have no vfork of ours.
test: peers build
	test -z "$$(gofmt -l .)"
	@rm -f build/skipped build/failed
	@diff=$$(go mod tidy -diff 2>build/why) || if test "$$diff"; then echo "$$diff"; exit 1; \
	else echo "go mod tidy: $$(tail -n 1 build/why)" >>build/skipped; fi
	@race=-race; go build -race -buildvcs=false -o /dev/null . 2>build/why || race=; \
	test "$$race" || echo "the race detector, which needs a C compiler: $$(head -n 1 build/why)" | tee -a build/skipped; \
	echo "go vet and staticcheck ./..., with what the tests leave of the processors"; \
	nice sh -c '$(LINT)' >build/linted 2>&1 & lint=$$!; \
	echo "go test $$race ./..."; status=0; \
	export RUNITBOX_PEERS='$(CURDIR)/build/peers' RUNITBOX_SKIPPED='$(CURDIR)/build/skipped'; \
	{ go test $$race -vet off -count 1 -timeout 40m ./... || echo failed >build/failed; } 2>&1 | tee build/tested; \
	if test -e build/failed; then awk -f testdata/again.awk build/tested >build/again; test -s build/again || status=1; \
	while read -r package test; do echo "once more, alone: go test -run '$$test' $$package"; \
	go test $$race -vet off -count 1 -run "$$test" $$package </dev/null >build/once 2>&1 || status=1; cat build/once; \
	if grep -q 'no tests to run' build/once; then echo "it is part of a whole: go test -run '$${test%%/*}' $$package"; \
	go test $$race -vet off -count 1 -run "$${test%%/*}" $$package </dev/null || status=1; fi; done <build/again; fi; \
	go test -vet off -tags forkpath -count 1 -run 'TestChild|TestFork|TestCollect' ./supervise/child || status=1; \
	wait $$lint || status=1; cat build/linted; \
	$(SKIPPED); exit $$status

# LINT is go vet and staticcheck, where that can be had.
LINT = status=0; go vet -tags $(TAGS) ./... || status=1; \
	if go run $(STATICCHECK) -version >/dev/null 2>build/why.lint; then go run $(STATICCHECK) $(CHECKS) ./... || status=1; \
	else echo "staticcheck: $$(tail -n 1 build/why.lint)" >>build/skipped; fi; exit $$status

# The messages end as runit's do, some with a full stop, which ST1005 forbids.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# TAGS are those of the tests that make test does not run, but looks at.
TAGS        := bench,mutants
CHECKS      := -checks inherit,-ST1005 -tags $(TAGS)

# SKIPPED says at the end what was left out and why: the first test of each reason.
SKIPPED = if test -s build/skipped; then echo "skipped: $$(wc -l <build/skipped) (they are in build/skipped)"; \
	awk '{ at = index($$0, ": "); why = substr($$0, at); if (!n[why]++) first[why] = substr($$0, 1, at - 1) } \
	END { for (why in n) print "  " first[why] (n[why] > 1 ? " and " n[why] - 1 " more" : "") why }' build/skipped; fi

# check is for who packages the suite: it needs no net, no root and no programs to
# compare with, and takes a minute or two.
check: export GOPROXY := off
check: build
	go vet ./...
	@rm -f build/skipped
	@RUNITBOX_SKIPPED='$(CURDIR)/build/skipped' go test -short -count 1 -timeout 20m ./... || status=1; $(SKIPPED); exit $${status:-0}

# test-fresh tries the two commands of README.md in a new, minimal Debian root, as root:
# all that is in it is what debootstrap makes, make and this machine's Go.
test-fresh:
	.ci/fresh

# test-services tries the service directories of `runitbox setup` with Debian's daemons,
# as root: SERVICES names some, SERVICES_ROOT a Debian root that has them.
SERVICES ?=
test-services: peers build
	.ci/services $(SERVICES)

# test-boot boots a Debian made by debootstrap whose process 1 is this executable, with
# qemu, as root: BOOT_ROOT names a root that has what it needs.
test-boot: peers build
	.ci/boot

# race runs what else runs the executable that users get with one that is made
# for the race detector. What looks at its signals, sizes and memory is left out.
race: peers
	RUNITBOX_RACE=1 RUNITBOX_PEERS='$(CURDIR)/build/peers' go test -timeout 40m -count 1 \
		-run '^(TestOracle/.*/runitbox|TestChaos|TestSv|TestRunsv|TestSvlogd)' -skip 'ignored-signals|TestSvlogdFrugal' ./applets

# mutants plants the faults of testdata/mutants, one at a time, in a copy of this
# tree and says which of them the tests notice. MUTANTS=PATTERN tries some.
MUTANTS ?= .
mutants:
	RUNITBOX_PEERS='$(CURDIR)/build/peers' go test -tags mutants -timeout 2h -count 1 -run '^TestMutants$$/$(MUTANTS)' -v ./applets

# install takes what has been built where there is no go, as root may have none.
# The executable is renamed into place: what runs may be called at any moment.
install: SBIN = $(DESTDIR)$(SBINDIR)
install:
	@if command -v go >/dev/null || ! test -x '$(OUT)/runitbox'; then $(MAKE) build; fi
	install -d '$(SBIN)'
	install -m 755 '$(OUT)/runitbox' '$(SBIN)/.runitbox.new'
	mv -f '$(SBIN)/.runitbox.new' '$(SBIN)/runitbox'
	'$(SBIN)/runitbox' install $(LINKS) '$(SBIN)'
	sh applets/share.sh '$(DESTDIR)$(MANDIR)' '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)$(FISHDIR)' '$(DESTDIR)$(ZSHDIR)' $(LINKS)

clean:
	rm -rf build

# peers fetches Debian's packages of the programs that the tests compare with, and
# of those that they call where this machine lacks them. Lists and packages stay
# below build: the machine's own apt is not touched.
APTDIRS := -o Dir::State::lists='$(CURDIR)/build/apt/lists' -o Dir::Cache='$(CURDIR)/build/apt/cache'
APT := apt-get -qq -o APT::Sandbox::User=root $(APTDIRS)
peers: build/peers/.done build/peers/qemu/.done build/peers/recipes/.done build/peers/services/.done build/peers/shells/.done build/peers/usr/bin/promtool $(if $(shell command -v ps && command -v pgrep && command -v xz),,build/peers/.tools)
build/peers/.done: PACKAGES := $(PEERS)
build/peers/.tools: PACKAGES := procps libproc2-0 xz-utils
build/peers/.done build/peers/.tools:
	@mkdir -p build/peers build/apt/lists/partial build/apt/cache/archives/partial
	@if command -v apt-get >/dev/null && $(APT) update; then \
		cd build/apt && for p in $(PACKAGES); do \
			$(APT) download $$p && dpkg -x $${p}_*.deb ../peers || echo "peers: no package $$p here"; \
		done && touch ../../$@; \
	else echo "peers: apt-get is not usable here: tests that need $(PACKAGES) will be skipped"; fi

# Of prometheus only the program that checks what is written for it is taken.
build/peers/usr/bin/promtool: | build/peers/.done
	@mkdir -p build/apt/lists/partial build/apt/cache/archives/partial
	@if command -v apt-get >/dev/null && $(APT) update && cd build/apt && $(APT) download prometheus; then \
		dpkg --fsys-tarfile prometheus_*.deb | tar -xC ../peers ./usr/bin/promtool; rm -f prometheus_*.deb; touch ../peers/usr/bin/promtool; \
	else echo "peers: no promtool here"; fi

# Qemu has a directory of its own, for libraries that this machine lacks are in it: what
# apt-get would install here. Of the kernel's package it takes what boots.
QEMU := build/peers/qemu
build/peers/qemu/.done: | build/peers/.done
	@rm -rf $(QEMU) build/apt/qemu
	@mkdir -p $(QEMU) build/apt/lists/partial build/apt/qemu/partial
	@if command -v apt-get >/dev/null && $(APT) update && cd build/apt/qemu && \
		$(APT) -o Dir::Cache::archives='$(CURDIR)/build/apt/qemu' -o Debug::NoLocking=1 \
			-y --download-only --no-install-recommends --reinstall install qemu-system-x86 >../qemu.log && \
		$(APT) download $$(apt-cache $(APTDIRS) depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p'); then \
		for p in *.deb; do case $$p in \
			linux-image-*) dpkg --fsys-tarfile $$p | tar -xC '$(CURDIR)/$(QEMU)' --wildcards './boot/vmlinuz-*';; \
			*) dpkg -x $$p '$(CURDIR)/$(QEMU)';; esac || exit 1; done && \
		rm -rf '$(CURDIR)/build/apt/qemu' && touch '$(CURDIR)/$@'; \
	else echo "peers: no qemu or kernel for it here: where user-mode-linux runs no program no kernel boots"; fi

# What the recipes need: PostgreSQL below root, with the libraries that this machine lacks
# (but not the one that compiles queries, which is large), other inits, and runit's packages
# as they are.
RECIPES := build/peers/recipes
build/peers/recipes/.done: | build/peers/.done
	@rm -rf $(RECIPES) build/apt/recipes
	@mkdir -p $(RECIPES)/root $(RECIPES)/inits build/apt/lists/partial build/apt/recipes/partial
	@if command -v apt-get >/dev/null && $(APT) update && \
		(cd $(RECIPES) && $(APT) download runit runit-init) && cd build/apt/recipes && \
		$(APT) download openrc libeinfo1 librc1 sysvinit-core && for p in *.deb; do dpkg -x $$p '$(CURDIR)/$(RECIPES)/inits' && rm $$p || exit 1; done && \
		$(APT) -o Dir::Cache::archives='$(CURDIR)/build/apt/recipes' -o Debug::NoLocking=1 \
			-y --download-only --no-install-recommends --reinstall install postgresql-15 postgresql-client-15 libpq5 >../recipes.log; then \
		rm -f libllvm*.deb; for p in *.deb; do dpkg -x $$p '$(CURDIR)/$(RECIPES)/root' || exit 1; done; \
		for r in root inits; do cd '$(CURDIR)/$(RECIPES)'/$$r && for d in bin sbin lib; do \
			if test -d $$d; then mkdir -p usr/$$d && cp -a $$d/. usr/$$d && rm -r $$d; fi; done; done; cd ../root; \
		rm -rf usr/share/doc usr/share/man usr/share/locale usr/lib/postgresql/*/lib/bitcode; \
		rm -rf '$(CURDIR)/build/apt/recipes' && touch '$(CURDIR)/$@'; \
	else echo "peers: no postgresql-15 or runit here: the tests of what stands beside them will be skipped"; fi

# The daemons of the collection that the tests start, and all that they need: a root of its
# own, as apt-get would make it where nothing is installed, without what is for Perl. It
# stands whole or not at all, and a machine's own packages do not count.
SERVICES_PEERS := base-passwd dash coreutils sed grep procps curl socat bsdutils bind9-dnsutils chrony cron dnsmasq-base \
	haproxy lighttpd memcached mosquitto mosquitto-clients nginx openssh-client openssh-server redis-server rsyslog
build/peers/services/.done: | build/peers/.done
	@rm -rf build/peers/services build/peers/services.new build/apt/services
	@mkdir -p build/apt/lists/partial build/apt/services/partial build/peers/services.new
	@cd build/peers/services.new && for d in bin sbin lib lib64; do mkdir -p usr/$$d && ln -s usr/$$d $$d; done
	@if command -v apt-get >/dev/null && $(APT) update && cd build/apt/services && \
		$(APT) -o Dir::State::status=/dev/null -o Dir::Cache::archives='$(CURDIR)/build/apt/services' -o Debug::NoLocking=1 \
			-y --download-only --no-install-recommends install $(SERVICES_PEERS) >../services.log; then \
		rm -f *perl*.deb dpkg_*.deb passwd_*.deb tzdata_*.deb && mkdir '$(CURDIR)/build/peers/services.new/usr/share' && ls *.deb >'$(CURDIR)/build/peers/services.new/usr/share/packages'; \
		for p in *.deb; do dpkg --fsys-tarfile $$p | tar -xC '$(CURDIR)/build/peers/services.new' --keep-directory-symlink --no-same-owner \
			--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' || exit 1; done; \
		cd '$(CURDIR)' && rm -rf build/apt/services && touch build/peers/services.new/.done && mv build/peers/services.new build/peers/services; \
	else echo "peers: no daemons of the collection here: TestCollection will be skipped"; fi

# Shells that complete, a reader of manual pages and what they need have a directory of
# their own.
SHELLS := bash-completion zsh zsh-common fish fish-common libpcre2-32-0 mandoc
build/peers/shells/.done: | build/peers/.done
	@mkdir -p build/peers/shells build/apt/lists/partial build/apt/cache/archives/partial
	@if command -v apt-get >/dev/null && $(APT) update; then \
		cd build/apt && for p in $(SHELLS); do \
			$(APT) download $$p && dpkg -x $${p}_*.deb ../peers/shells || echo "peers: no package $$p here"; \
		done && touch ../../$@; \
	else echo "peers: apt-get is not usable here: zsh, fish and mandoc are not tried"; fi

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

# test-logger feeds svlogd in all ways (minutes), and kills it more often.
test-logger: peers build
	RUNITBOX_MATRIX=all RUNITBOX_KILLS=10 RUNITBOX_PEERS='$(CURDIR)/build/peers' go test -timeout 60m -count 1 -run '^TestSvlogd(Matrix|Killed)$$' -v ./applets
