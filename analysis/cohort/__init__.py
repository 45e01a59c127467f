"""Many patients: what their features say of response and survival, and how sure that is. Research use only."""
