"""Why a request could not be served, from a recording alone: no machine is made.

    again      Does asking again help?  Two recordings of one machine, taken apart, tell as far as
               they can
    census     A recording as the planner sees it: free, movable or stuck, frame by frame; no
               machine is made
    diagnosis  Why is there no huge page here?  One request, answered from a recording by the
               planner
    show       A diagnosis on one page of text, fewer than 80 columns, with the sentence to hand on

May be imported by: cli and scripts.
"""
