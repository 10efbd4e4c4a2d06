//! Joins the group and keeps the membership alive.
