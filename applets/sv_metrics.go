package applets

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// metric is one of those that are told of each service; value is "" where there is none.
type metric struct {
	name, kind, help string
	value            func(s *survey.Service) string
}

// states are the values of the label of the state.
var states = []string{"run", "down", "finish", "paused", "resting", "waiting", "failed", "unsupervised", "unknown"}

// metrics are told in this order.
var metrics = []metric{
	{"up", "gauge", "Whether the process of the service runs.", func(s *survey.Service) string {
		return flag01(s.Err == nil && s.Record.State == state.Run)
	}},
	{"well", "gauge", "Whether the service and its log service are as they are wanted.", func(s *survey.Service) string { return flag01(isWell(s)) }},
	{"supervised", "gauge", "Whether a supervisor serves the service.", func(s *survey.Service) string { return flag01(s.Err == nil) }},
	{"ready", "gauge", "Whether the service has said that it is ready, where it says so.", func(s *survey.Service) string {
		if s.Ready == state.NotSaid {
			return ""
		}
		return flag01(s.Ready == state.IsReady)
	}},
	{"wanted_up", "gauge", "Whether the standing order is up.", ofKnown(func(s *survey.Service) string {
		return flag01(s.Record.Want == state.WantUp)
	})},
	{"since_seconds", "gauge", "When the service came into its state, in seconds since 1970.", ofKnown(func(s *survey.Service) string {
		return strconv.FormatFloat(float64(s.Record.Since.UnixMicro())/1e6, 'f', 6, 64)
	})},
	{"restarts_last_hour", "gauge", "How often the service was started again in the last hour.", ofKnown(func(s *survey.Service) string {
		if s.Life.Restarts < 0 {
			return ""
		}
		return strconv.Itoa(s.Life.Restarts)
	})},
	{"flaps", "gauge", "How many of its last ends make up the loop of short lives that the service is in.", ofKnown(func(s *survey.Service) string {
		if s.Life.Restarts < 0 {
			return ""
		}
		return strconv.Itoa(s.Life.Flaps)
	})},
	{"processes", "gauge", "The processes of the service.", ofSeen(func(u survey.Usage) string { return strconv.Itoa(u.Processes) })},
	{"memory_bytes", "gauge", "The resident memory of the processes of the service.", ofSeen(func(u survey.Usage) string { return strconv.FormatInt(u.Memory, 10) })},
	{"cpu_seconds_total", "counter", "The processor time that the present processes of the service have used.", ofSeen(func(u survey.Usage) string {
		return strconv.FormatFloat(u.CPU.Seconds(), 'f', 2, 64)
	})},
	{"log_up", "gauge", "Whether the log service of the service runs.", func(s *survey.Service) string {
		if s.Log == nil {
			return ""
		}
		return flag01(s.Log.Err == nil && s.Log.Record.State == state.Run)
	}},
	{"log_backlog_bytes", "gauge", "What waits in the pipe to the log service.", func(s *survey.Service) string {
		if s.Log == nil || s.Err != nil || s.Record.PID == 0 {
			return ""
		}
		n, ok := client.OutputBacklog(s.Record.PID)
		if !ok {
			return ""
		}
		return strconv.Itoa(n)
	}},
}

// ofKnown is a value of services whose state is known.
func ofKnown(value func(*survey.Service) string) func(*survey.Service) string {
	return func(s *survey.Service) string {
		if s.Err != nil {
			return ""
		}
		return value(s)
	}
}

// ofSeen is a value of services whose processes can be seen.
func ofSeen(value func(survey.Usage) string) func(*survey.Service) string {
	return func(s *survey.Service) string {
		if !s.Use.Known {
			return ""
		}
		return value(s.Use)
	}
}

func flag01(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// newSvMetrics tells the services to Prometheus, for a textfile collector.
func newSvMetrics(s *svCall) *cobra.Command {
	return &cobra.Command{
		Use:   "sv metrics [service ...]",
		Short: "print the state of services as Prometheus reads it",
		RunE: func(_ *cobra.Command, names []string) error {
			all, err := s.survey(names, survey.Look{Usage: true, Blocked: true})
			if err != nil {
				return err
			}
			writeMetrics(s.out, all)
			for _, one := range all {
				if isMissing(one) && len(names) > 0 {
					s.failed++
				}
			}
			return s.code()
		},
	}
}

// writeMetrics writes the text format, version 0.0.4.
func writeMetrics(out io.Writer, all []*survey.Service) {
	fmt.Fprint(out, "# HELP runit_service_state The state of the service: one of them is 1.\n# TYPE runit_service_state gauge\n")
	for _, s := range all {
		for _, word := range states {
			fmt.Fprintf(out, "runit_service_state{service=%s,state=%q} %s\n", label(s.Name), word, flag01(stateWord(s) == word))
		}
	}
	for _, m := range metrics {
		head := fmt.Sprintf("# HELP runit_service_%[1]s %[2]s\n# TYPE runit_service_%[1]s %[3]s\n", m.name, m.help, m.kind)
		for _, s := range all {
			if value := m.value(s); value != "" {
				fmt.Fprintf(out, "%srunit_service_%s{service=%s} %s\n", head, m.name, label(s.Name), value)
				head = ""
			}
		}
	}
}

// label is a label's value in the text format.
func label(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
