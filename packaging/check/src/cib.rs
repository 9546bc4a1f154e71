//! A CIB in XML: Pacemaker's own form, whatever tool made it.

use crate::model::{Configuration, Resource};
use roxmltree::{Document, Node, ParsingOptions};
use std::path::Path;

/// Reads resources, groups and orders.
pub fn read(file: &Path, text: &str) -> Result<Configuration, String> {
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|why| why.to_string())?;
    let line = |node: &Node| document.text_pos_at(node.range().start).row as usize;
    let mut configuration = Configuration::new(file, false);
    for node in document.descendants().filter(|node| node.has_tag_name("primitive")) {
        let id = node.attribute("id").unwrap_or_default();
        let agent = node.attribute("type").unwrap_or_default();
        let mut resource = Resource::new(id, node.attribute("provider"), agent, line(&node));
        for attributes in node.children().filter(|child| child.has_tag_name("instance_attributes")) {
            for pair in attributes.children().filter(|child| child.has_tag_name("nvpair")) {
                resource.set(
                    pair.attribute("name").unwrap_or_default(),
                    pair.attribute("value").unwrap_or_default(),
                );
            }
        }
        configuration.resources.push(resource);
    }
    if configuration.resources.is_empty()
        && !document.descendants().any(|node| node.has_tag_name("resources"))
    {
        return Err("this XML holds no resources".into());
    }
    for (number, group) in document.descendants().filter(|node| node.has_tag_name("group")).enumerate() {
        let members = group.children().filter(|child| child.has_tag_name("primitive"));
        let members =
            members.filter_map(|child| configuration.find(child.attribute("id")?)).collect::<Vec<_>>();
        configuration.chain(number, &members);
    }
    for order in document.descendants().filter(|node| node.has_tag_name("rsc_order")) {
        let of = |id: Option<&str>| id.map_or_else(Vec::new, |id| inside(&document, id, &configuration));
        let mut sets: Vec<Vec<usize>> = vec![of(order.attribute("first")), of(order.attribute("then"))];
        sets.retain(|set| !set.is_empty());
        for set in order.children().filter(|child| child.has_tag_name("resource_set")) {
            let members = set.children().filter(|child| child.has_tag_name("resource_ref"));
            let members: Vec<Vec<usize>> = members.map(|child| of(child.attribute("id"))).collect();
            if set.attribute("sequential") == Some("false") {
                sets.push(members.concat());
            } else {
                sets.extend(members);
            }
        }
        for pair in sets.windows(2) {
            if let [first, then] = pair {
                for &a in first {
                    for &b in then {
                        configuration.order(a, b);
                    }
                }
            }
        }
    }
    Ok(configuration)
}

/// The primitives that an id means: itself, or those in a group, clone or both.
fn inside(document: &Document, id: &str, configuration: &Configuration) -> Vec<usize> {
    let Some(node) = document.descendants().find(|node| {
        matches!(node.tag_name().name(), "primitive" | "group" | "clone" | "master")
            && node.attribute("id") == Some(id)
    }) else {
        return Vec::new();
    };
    let primitives = node.descendants().filter(|node| node.has_tag_name("primitive"));
    primitives.filter_map(|node| configuration.find(node.attribute("id")?)).collect()
}
