#compdef runitbox chpst envdir envuidgid modules-load nsvlog pause pgrphack rsvlog runit runit-init runsv runsvchdir runsvctrl runsvdir runsvstat seedrng setlock setuidgid softlimit sv svlogd svwaitdown svwaitup utmpset vlogger halt init poweroff reboot shutdown

# Completion of runitbox and its applets in zsh. The executable itself knows what is
# wanted: "runitbox complete NAME WORD..." prints a candidate for the last WORD a line, or
# a line that begins with a colon and says what the shell is to complete by itself.

_runitbox() {
	local at box text about
	local -a plain described
	at=${${commands[$words[1]]:-$words[1]}:A}
	for box in ${at:h}/runitbox ${commands[runitbox]} {/usr/local,/usr,}/sbin/runitbox; do
		[[ -x $box ]] && break
	done
	[[ -x $box ]] || return 1
	while IFS=$'\t' read -r text about; do
		case $text in
		:dirs)
			compset -P '*='
			_files -/
			return
			;;
		:files)
			compset -P '*='
			_files
			return
			;;
		:program)
			words=("${(@)words[about + 1, -1]}")
			((CURRENT -= about))
			_normal
			return
			;;
		*)
			if [[ -n $about ]]; then
				described+=("${text//:/\\:}:$about")
			else
				plain+=("$text")
			fi
			;;
		esac
	done < <("$box" complete "${words[1]:t}" "${(@)words[2, CURRENT]}" 2>/dev/null)
	(($#described)) && _describe -t arguments argument described
	(($#plain)) && compadd -a plain
}

if [[ $funcstack[1] == _runitbox ]]; then
	_runitbox "$@"
else
	compdef _runitbox runitbox chpst envdir envuidgid modules-load nsvlog pause pgrphack rsvlog runit runit-init runsv runsvchdir runsvctrl runsvdir runsvstat seedrng setlock setuidgid softlimit sv svlogd svwaitdown svwaitup utmpset vlogger halt init poweroff reboot shutdown
fi
