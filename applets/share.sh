#!/bin/sh
# share.sh MAN BASH FISH ZSH [LINK-OPTION...] puts the manual pages and the scripts of
# completion into these directories, for make install. Of the options of the links it
# knows --no-init and --force: without the latter, what is there and is not ours stays.
set -eu
umask 022
man=$1 bash=$2 fish=$3 zsh=$4
shift 4
here=$(dirname "$0")
skipped='' force='' scripts='^-' # a pattern of nothing
for option; do
	case $option in
	--no-init) skipped='init halt poweroff reboot shutdown' scripts=' halt init poweroff reboot shutdown' ;;
	--force) force=1 ;;
	esac
done

# kept FILE says whether FILE must stay: ours have the word runitbox in them, or are links
# to such.
kept() {
	[ ! "$force" ] && [ -e "$1" ] || return 1
	case $1 in
	*.gz) gzip -dc <"$1" ;;
	*) cat "$1" ;;
	esac 2>/dev/null | grep -q runitbox && return 1
	echo "$1 stays: it is not runitbox's (LINKS=--force replaces it)" >&2
}

# put FILE takes the text of FILE, link TARGET FILE makes a link; both appear at once.
put() { if kept "$1"; then cat >/dev/null; else cat >"$1.new" && mv -f "$1.new" "$1"; fi; }
link() { kept "$2" || ln -sf "$1" "$2"; }

install -d "$man/man8" "$bash" "$fish" "$zsh"
for shell in bash fish zsh; do
	case $shell in
	bash) file=$bash/runitbox ;;
	fish) file=$fish/runitbox.fish ;;
	zsh) file=$zsh/_runitbox ;;
	esac
	sed "s/$scripts//" "$here/completion/runitbox.$shell" | put "$file"
done
for page in "$here"/manual/*.8; do
	first='' names=$(sed -n '/^\.SH NAME/{n;s/ \\- .*//;s/[\\,]//g;p;}' "$page")
	for name in $names; do
		case " $skipped " in *" $name "*) continue ;; esac
		if [ "$first" ]; then
			link "$first.8.gz" "$man/man8/$name.8.gz"
		else
			first=$name
			gzip -9nc "$page" | put "$man/man8/$name.8.gz"
		fi
		[ "$name" != runitbox ] || continue
		link runitbox "$bash/$name"
		link runitbox.fish "$fish/$name.fish"
	done
done
