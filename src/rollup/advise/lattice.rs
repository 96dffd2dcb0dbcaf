//! Views that answer several questions: joins, in the lattice of views, of those that answer one.

use super::shape::Shape;

/// The given shapes and joins of them, none twice, `most` at most. Given ones come first, in their order (the most asked first, so
/// that those are joined first when not all can be).
pub fn with_joins(shapes: Vec<Shape>, most: usize) -> Vec<Shape> {
    let mut found: Vec<Shape> = Vec::new();
    for shape in shapes {
        add(&mut found, shape, most);
    }
    let given = found.len();
    // Each is joined with those before it: by the end all joins have been made, or there are enough.
    let mut next = 1;
    while next < found.len() && found.len() < most {
        for other in 0..next.min(given) {
            if let Some(joined) = found[other].joined(&found[next]) {
                add(&mut found, joined, most);
            }
        }
        next += 1;
    }
    found
}

fn add(found: &mut Vec<Shape>, shape: Shape, most: usize) {
    if found.len() < most && !found.iter().any(|known| known.is_same(&shape)) {
        found.push(shape);
    }
}
