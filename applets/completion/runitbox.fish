# Completion of runitbox and its applets in fish. The executable itself knows what is
# wanted: "runitbox complete NAME WORD..." prints a candidate for the last WORD a line, or
# a line that begins with a colon and says what the shell is to complete by itself.

function __runitbox_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l at (command -s -- $words[1]; or echo $words[1])
    set -l box (string replace -r '[^/]*$' runitbox -- (realpath -- $at 2>/dev/null))
    for box in $box (command -s runitbox) /usr/local/sbin/runitbox /usr/sbin/runitbox /sbin/runitbox
        test -x "$box"; and break
    end
    test -x "$box"; or return
    set -l answer ($box complete (string replace -r '.*/' '' -- $words[1]) $words[2..-1] 2>/dev/null)
    set -l word (string split -m 1 = -- $words[-1])[-1]
    set -l before (string replace -r '[^=]*$' '' -- $words[-1])
    switch "$answer[1]"
        case :dirs
            printf '%s\n' $before(__fish_complete_directories $word)
        case :files
            printf '%s\n' $before(__fish_complete_path $word)
        case ':program*'
            set -l from (string split \t -- $answer[1])[2]
            set -l rest (string escape -- $words[(math $from + 1)..-2]) $words[-1]
            complete -C (string join ' ' -- $rest)
        case '*'
            printf '%s\n' $answer
    end
end

for name in runitbox chpst envdir envuidgid modules-load nsvlog pause pgrphack rsvlog runit runit-init runsv runsvchdir runsvctrl runsvdir runsvstat seedrng setlock setuidgid softlimit sv svlogd svwaitdown svwaitup utmpset vlogger halt init poweroff reboot shutdown
    complete -c $name -f -a '(__runitbox_complete)'
end
