"""The report: tables, figures and one self-contained page, from the files that the other steps wrote."""
