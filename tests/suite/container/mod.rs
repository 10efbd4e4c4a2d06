//! The programs of the container: as processes of their own, and in the root file system that the Dockerfile describes.

mod deployment;
mod image;
mod in_time;
mod programs;
mod root;
