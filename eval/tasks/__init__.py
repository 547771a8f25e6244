"""Tasks with right answers: what models are asked, what each answer costs them, and which tasks tell levels apart."""
