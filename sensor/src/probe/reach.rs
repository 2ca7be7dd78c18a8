//! Whose calls the hooks of a file see: everybody's, or, where a process was released, those
//! of every other process alone.
//!
//! In: [`Hooked`] files, processes. Out: links. Must not know: why a process is released.
//!
//! The kernel has no link for all processes but one. So there is one for each of the others,
//! and whoever is new to the file has to be [admitted](Images::admit).

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use super::attach::{self, Image, ImageId, Images};
use super::hooked::Hooked;
use super::links::{self, Link};
use super::load::Programs;

/// Processes with links of their own to one file from which on nobody is released; twice as
/// many, and all get their probes back.
pub const MAX_EACH: usize = 64;

/// What came of a process that is new to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The file's probes are in every process.
    Needless,
    /// It has probes, or was released.
    Done,
    Refused,
}

#[derive(Debug)]
pub enum Reach {
    /// Everybody's, and of whoever is to come.
    All(Vec<Link>),
    Each(Each),
}

/// Probes in single processes.
#[derive(Debug)]
pub struct Each {
    hooked: Hooked,
    links: HashMap<u32, Vec<Link>>,
    released: HashSet<u32>,
}

impl Default for Reach {
    fn default() -> Self {
        Self::All(vec![])
    }
}

impl Reach {
    pub fn into_links(self) -> Vec<Link> {
        match self {
            Self::All(links) => links,
            Self::Each(each) => each.links.into_values().flatten().collect(),
        }
    }

    fn each(&mut self) -> Option<&mut Each> {
        match self {
            Self::All(_) => None,
            Self::Each(each) => Some(each),
        }
    }
}

impl Each {
    fn knows(&self, pid: u32) -> bool {
        self.released.contains(&pid) || self.links.contains_key(&pid)
    }

    /// Whether links for single processes are good for nothing any more.
    fn is_over(&self) -> bool {
        self.released.is_empty() && (self.links.is_empty() || self.hooked.may_be_doubled())
    }
}

impl Images {
    /// Takes the probes of a file out of the processes `released`, and leaves those that
    /// `others` have, who are all the rest of its users. Whether that went well; if not,
    /// everybody has them as before.
    pub fn narrow(
        &self,
        programs: &mut Programs,
        hooked: &Hooked,
        released: &HashSet<u32>,
        others: &HashSet<u32>,
    ) -> bool {
        let narrowed = self.each(hooked.id, |each| {
            each.released.extend(released);
            let ended = released.iter().filter_map(|pid| each.links.remove(pid));
            ended.flatten().collect()
        });
        if let Some(ended) = narrowed {
            links::end_aside(ended);
            return true;
        }
        if !others.is_empty() && !hooked.may_be_doubled() {
            return false;
        }
        let mut links = HashMap::new();
        for pid in others {
            let Ok(attached) = hooked.attach_to(programs, *pid) else {
                links::end_aside(links.into_values().flatten().collect());
                return false;
            };
            links.insert(*pid, attached);
        }
        // The links for all end only now, so that nothing of the others is missed.
        let each = Each {
            hooked: hooked.clone(),
            links,
            released: released.clone(),
        };
        self.replace(hooked, Reach::Each(each), None)
    }

    /// Sets probes in a process that is new to a file.
    pub fn admit(&self, programs: &mut Programs, id: ImageId, pid: u32) -> Admission {
        let state = self.each(id, |each| {
            let has_room = each.links.len() < 2 * MAX_EACH;
            (each.hooked.clone(), each.knows(pid), has_room)
        });
        let (hooked, has_room) = match state {
            None => return Admission::Needless,
            Some((_, true, _)) => return Admission::Done,
            Some((hooked, false, has_room)) => (hooked, has_room),
        };
        let attached = has_room.then(|| hooked.attach_to(programs, pid));
        let Some(Ok(links)) = attached else {
            return Admission::Refused;
        };
        self.each(id, |each| each.links.insert(pid, links));
        Admission::Done
    }

    /// Sets probes in a process that was released.
    pub fn restore(&self, programs: &mut Programs, id: ImageId, pid: u32) -> Admission {
        self.each(id, |each| each.released.remove(&pid));
        self.widen_if_over(programs, id);
        self.admit(programs, id, pid)
    }

    /// A process has ended, or runs another program.
    pub fn part(&self, programs: &mut Programs, id: ImageId, pid: u32) {
        let ended = self.each(id, |each| {
            each.released.remove(&pid);
            each.links.remove(&pid).unwrap_or_default()
        });
        links::end_aside(ended.unwrap_or_default());
        self.widen_if_over(programs, id);
    }

    fn widen_if_over(&self, programs: &mut Programs, id: ImageId) {
        if self.each(id, |each| each.is_over()) == Some(true) {
            self.widen(programs, id);
        }
    }

    /// Sets the probes of a file in every process again.
    pub fn widen(&self, programs: &mut Programs, id: ImageId) {
        let state = self.each(id, |each| {
            let before = match each.hooked.may_be_doubled() {
                true => HashMap::new(),
                false => mem::take(&mut each.links),
            };
            (each.hooked.clone(), before)
        });
        let Some((hooked, before)) = state else {
            return;
        };
        links::end(before.into_values().flatten());
        let Image { path, finding, .. } = &*hooked.image;
        let (mut image, links) = attach::attach(programs, &hooked.file, path, finding.clone());
        image.tally = Arc::clone(&hooked.image.tally);
        self.replace(&hooked, Reach::All(links), Some(image));
    }

    /// The files of which `pid` is a known user, of those that processes were released from.
    pub fn narrowed_of(&self, pid: u32) -> Vec<ImageId> {
        let mut known = self.known();
        let narrowed = known.iter_mut().filter_map(|(id, known)| {
            let each = known.reach.each()?;
            each.knows(pid).then_some(*id)
        });
        narrowed.collect()
    }

    /// All known users of files that processes were released from.
    pub fn narrowed_users(&self) -> HashSet<u32> {
        let mut known = self.known();
        let each = known.values_mut().filter_map(|known| known.reach.each());
        let users = each.flat_map(|each| each.links.keys().chain(&each.released));
        users.copied().collect()
    }

    /// Whether processes were released from a file.
    pub fn is_narrowed(&self, id: ImageId) -> bool {
        self.each(id, |_| ()).is_some()
    }

    /// Whether there is such a file.
    pub fn any_narrowed(&self) -> bool {
        self.known()
            .values_mut()
            .any(|known| known.reach.each().is_some())
    }

    /// What `ask` says of a file that processes were released from.
    fn each<T>(&self, id: ImageId, ask: impl FnOnce(&mut Each) -> T) -> Option<T> {
        self.known().get_mut(&id)?.reach.each().map(ask)
    }

    /// Puts links in the place of others. Whether they fit there: the file may have lost its
    /// hooks meanwhile.
    fn replace(&self, hooked: &Hooked, reach: Reach, image: Option<Image>) -> bool {
        let mut known = self.known();
        let is_same = |image: &Arc<Image>| Arc::ptr_eq(image, &hooked.image);
        let place = known.get_mut(&hooked.id);
        let place = place.filter(|known| known.image.as_ref().is_some_and(is_same));
        let fits = place.is_some();
        let before = match place {
            Some(place) => {
                place.image = image.map(Arc::new).or_else(|| place.image.take());
                mem::replace(&mut place.reach, reach)
            }
            None => reach,
        };
        drop(known);
        links::end_aside(before.into_links());
        fits
    }
}
