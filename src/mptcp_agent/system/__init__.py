"""The only code that touches the machine: one file per thing touched.

All calls block, for a millisecond or so, and belong into the worker thread. Modules here never
import each other; what they take and give are types of ``core``, and what the machine refuses
becomes an error of ``errors`` that names the thing and the way out. Excepted, since they touch
nothing: ``pyroute2_parts`` (the library), ``route_messages``, ``diag_messages`` (translation).

    routes          routes, rules, links and addresses        (rtnetlink)
    endpoints       MPTCP endpoints and limits                (generic netlink, mptcp_pm)
    netlink_events  "look again" when any of these changes    (netlink multicast)
    sysctl          kernel parameters                         (/proc/sys)
    files           generated files, mode 0600
    diag            connections and subflows                  (sock_diag)
    counters        MPTCP and link counters, memory           (/proc, /sys)
"""
