# Completion of runitbox and its applets in bash. The executable itself knows what is
# wanted: "runitbox complete NAME WORD..." prints a candidate for the last WORD a line, or
# a line that begins with a colon and says what the shell is to complete by itself.

_runitbox() {
	local at box line text about name word prefix i
	local -a words
	COMPREPLY=()
	at=$(type -P -- "$1") && at=$(readlink -f -- "$at")
	for box in "${at%/*}/runitbox" "$(type -P runitbox)" {/usr/local,/usr,}/sbin/runitbox; do
		[[ -x $box ]] && break
	done
	[[ -x $box ]] || return 0
	# COMP_WORDS is parted at colons and equals signs too, where candidates are not.
	line=${COMP_LINE:0:COMP_POINT}
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	name=${1##*/} word=${words[-1]} prefix=
	[[ $word == *[:=]* ]] && prefix=${word%"${word##*[:=]}"}
	while IFS=$'\t' read -r text about; do
		case $text in
		:dirs)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -d -- "${word#"$prefix"}")
			;;
		:files)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "${word#"$prefix"}")
			;;
		:program)
			if ((about == ${#words[@]} - 1)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$word" | sort -u)
			elif declare -F _command_offset >/dev/null; then
				for ((i = 1; i < COMP_CWORD; i++)); do
					[[ ${COMP_WORDS[i]} == "${words[about]}" ]] && break
				done
				_command_offset "$i"
			else
				compopt -o filenames
				mapfile -t COMPREPLY < <(compgen -f -- "$word")
			fi
			;;
		*)
			[[ $text == */ ]] && compopt -o nospace
			COMPREPLY+=("$(printf %q "${text#"$prefix"}")")
			;;
		esac
	done < <("$box" complete "$name" "${words[@]:1}" 2>/dev/null)
}

complete -F _runitbox runitbox chpst envdir envuidgid modules-load nsvlog pause pgrphack rsvlog runit runit-init runsv runsvchdir runsvctrl runsvdir runsvstat seedrng setlock setuidgid softlimit sv svlogd svwaitdown svwaitup utmpset vlogger halt init poweroff reboot shutdown
